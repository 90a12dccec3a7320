// A store in a temporary directory with the services over it, for tests.
#pragma once

#include <gmock/gmock.h>

#include "collector.h"
#include "containers.h"
#include "content.h"
#include "images.h"
#include "leases.h"
#include "namespaces.h"
#include "sandboxes.h"
#include "snapshots.h"
#include "testing.h"
#include "testing_backends.h"

namespace berth::metadata {

class MetadataTest : public testing::Test {
 protected:
  void SetUp() override {
    if (root_.empty()) root_ = directory_.path();
    auto opened = Store::open(root_ + "/metadata.db", {});
    ASSERT_TRUE(opened.ok()) << opened.status().to_string();
    store_ = std::move(*opened);
    store_->start();
    auto fake = std::make_unique<FakeSnapshotter>();
    snapshotter_ = fake.get();
    backends_["fake"] = std::move(fake);
    const Publish publish = [this](const Context& context, std::string_view topic,
                                   const google::protobuf::Message&) {
      events_.push_back(std::string(context.ns()) + " " + std::string(topic));
    };
    namespaces_ = std::make_unique<Namespaces>(*store_);
    containers_ = std::make_unique<Containers>(*store_);
    images_ = std::make_unique<Images>(*store_);
    leases_ = std::make_unique<Leases>(*store_);
    sandboxes_ = std::make_unique<Sandboxes>(*store_);
    content_ =
        std::make_unique<Content>(*store_, blobs_, in_flight_, SharingPolicy::kShared,
                                  containerd::services::content::v1::ContentClient(), publish);
    snapshots_ = std::make_unique<Snapshots>(*store_, backends_, in_flight_, publish);
    collector_ =
        std::make_unique<Collector>(*store_, blobs_, backends_, in_flight_, watch_, publish,
                                    [this](const std::string& line) { log_.push_back(line); });
  }

  static Context in(const std::string& ns) { return Context().with_ns(ns); }
  static Context leased(const std::string& lease) {
    return in("default").with(kLeaseHeader, lease);
  }

  /// Writes a blob as a client does: STAT, then COMMIT with the bytes.
  Status write_blob(const Context& context, const std::string& bytes, const Labels& labels = {},
                    SharingPolicy policy = SharingPolicy::kShared) {
    WriteSession session(*store_, blobs_, in_flight_, policy, context, std::string(context.ns()));
    WriteRequest request;
    containerd::services::content::v1::WriteContentResponse response;
    request.head.set_ref("ref-" + bytes);
    request.head.set_action(containerd::services::content::v1::COMMIT);
    request.head.set_total(static_cast<int64_t>(bytes.size()));
    *request.head.mutable_labels() = labels;
    request.data = bytes;
    return session.handle(request, &response);
  }
  static std::string digest(const std::string& bytes) { return digest_of(bytes).string(); }

  Status create_image(const std::string& name, const std::string& target, const Labels& labels = {},
                      const Context& context = in("default")) {
    containerd::services::images::v1::CreateImageRequest request;
    auto* image = request.mutable_image();
    image->set_name(name);
    image->mutable_target()->set_digest(target);
    image->mutable_target()->set_media_type("application/x");
    image->mutable_target()->set_size(1);
    *image->mutable_labels() = labels;
    containerd::services::images::v1::CreateImageResponse response;
    Context copy = context;
    return images_->Create(copy, request, &response);
  }
  Status delete_image(const std::string& name) {
    containerd::services::images::v1::DeleteImageRequest request;
    request.set_name(name);
    google::protobuf::Empty response;
    Context context = in("default");
    return images_->Delete(context, request, &response);
  }
  Status create_lease(const std::string& id, const Labels& labels = {}) {
    containerd::services::leases::v1::CreateRequest request;
    request.set_id(id);
    *request.mutable_labels() = labels;
    containerd::services::leases::v1::CreateResponse response;
    Context context = in("default");
    return leases_->Create(context, request, &response);
  }
  Status delete_lease(const std::string& id) {
    containerd::services::leases::v1::DeleteRequest request;
    request.set_id(id);
    google::protobuf::Empty response;
    Context context = in("default");
    return leases_->Delete(context, request, &response);
  }
  Status prepare(const std::string& key, const std::string& parent, const Labels& labels = {},
                 const Context& context = in("default")) {
    containerd::services::snapshots::v1::PrepareSnapshotRequest request;
    request.set_snapshotter("fake");
    request.set_key(key);
    request.set_parent(parent);
    *request.mutable_labels() = labels;
    containerd::services::snapshots::v1::PrepareSnapshotResponse response;
    Context copy = context;
    return snapshots_->Prepare(copy, request, &response);
  }
  Status commit(const std::string& name, const std::string& key, const Labels& labels = {},
                const Context& context = in("default")) {
    containerd::services::snapshots::v1::CommitSnapshotRequest request;
    request.set_snapshotter("fake");
    request.set_name(name);
    request.set_key(key);
    *request.mutable_labels() = labels;
    google::protobuf::Empty response;
    Context copy = context;
    return snapshots_->Commit(copy, request, &response);
  }
  Status remove_snapshot(const std::string& key) {
    containerd::services::snapshots::v1::RemoveSnapshotRequest request;
    request.set_snapshotter("fake");
    request.set_key(key);
    google::protobuf::Empty response;
    Context context = in("default");
    return snapshots_->Remove(context, request, &response);
  }
  Status create_container(const std::string& id, const std::string& snapshot,
                          const Labels& labels = {}) {
    containerd::services::containers::v1::CreateContainerRequest request;
    auto* container = request.mutable_container();
    container->set_id(id);
    container->mutable_runtime()->set_name("runc");
    container->mutable_spec()->set_type_url("spec");
    if (!snapshot.empty()) {
      container->set_snapshotter("fake");
      container->set_snapshot_key(snapshot);
    }
    *container->mutable_labels() = labels;
    containerd::services::containers::v1::CreateContainerResponse response;
    Context context = in("default");
    return containers_->Create(context, request, &response);
  }
  std::map<std::string, uint64_t> collect() {
    ::berth::metadata::v1::CollectResponse response;
    Context context;
    const Status status = collector_->Collect(context, {}, &response);
    EXPECT_TRUE(status.ok()) << status.to_string();
    std::map<std::string, uint64_t> removed;
    for (const auto& item : response.removed()) {
      removed[item.kind() + (item.name().empty() ? "" : "/" + item.name())] = item.count();
    }
    return removed;
  }
  bool has_content(const std::string& ns, const std::string& digest_text) {
    return content_->check_access(in(ns), digest_text).ok();
  }
  std::vector<std::string> snapshot_keys() {
    std::vector<std::string> keys;
    containerd::services::snapshots::v1::ListSnapshotsRequest request;
    request.set_snapshotter("fake");
    EXPECT_TRUE(snapshots_
                    ->walk(in("default"), request,
                           [&](Snapshots::SnapshotInfo&& info) {
                             keys.push_back(info.name());
                             return Status();
                           })
                    .ok());
    return keys;
  }

  TempDirectory directory_;
  std::string root_;  // of the database
  std::unique_ptr<Store> store_;
  InFlight in_flight_;
  MutationWatch watch_;
  FakeContent blobs_;
  FakeSnapshotter* snapshotter_ = nullptr;
  SnapshotBackends backends_;
  std::vector<std::string> events_;
  std::vector<std::string> log_;
  std::unique_ptr<Namespaces> namespaces_;
  std::unique_ptr<Containers> containers_;
  std::unique_ptr<Images> images_;
  std::unique_ptr<Leases> leases_;
  std::unique_ptr<Sandboxes> sandboxes_;
  std::unique_ptr<Content> content_;
  std::unique_ptr<Snapshots> snapshots_;
  std::unique_ptr<Collector> collector_;
};

}  // namespace berth::metadata
