// Stores in memory, for tests.
#pragma once

#include <berth/digest.h>

#include <algorithm>

#include "backends.h"

namespace berth::metadata {

/// A content store as the plugin "content" behaves, with blobs and ingests in the open.
class FakeContent final : public ContentBackend {
 public:
  using Request = containerd::services::content::v1::WriteContentRequest;
  using Response = containerd::services::content::v1::WriteContentResponse;

  std::map<std::string, std::string> blobs;    // by digest
  std::map<std::string, std::string> ingests;  // bytes by ref
  std::function<void(const std::string& digest)> before_remove = [](const std::string&) {};

  Result<int64_t> size(const Context&, const std::string& digest) override {
    const auto found = blobs.find(digest);
    if (found == blobs.end()) return not_found("blob " + digest);
    return static_cast<int64_t>(found->second.size());
  }
  Status remove(const Context&, const std::string& digest) override {
    before_remove(digest);
    return blobs.erase(digest) == 0 ? not_found("blob " + digest) : Status();
  }
  Status list(const Context&, const std::function<bool(const std::string&)>& visit) override {
    for (const auto& [digest, bytes] : blobs) {
      if (!visit(digest)) break;
    }
    return {};
  }
  Status status(const Context&, const std::string& ref,
                containerd::services::content::v1::Status* out) override {
    const auto found = ingests.find(ref);
    if (found == ingests.end()) return not_found("ingest " + ref);
    out->set_ref(ref);
    out->set_offset(static_cast<int64_t>(found->second.size()));
    return {};
  }
  Status statuses(const Context& context,
                  containerd::services::content::v1::ListStatusesResponse* out) override {
    for (const auto& [ref, bytes] : ingests) {
      BERTH_RETURN_IF_ERROR(status(context, ref, out->add_statuses()));
    }
    return {};
  }
  Status abort(const Context&, const std::string& ref) override {
    return ingests.erase(ref) == 0 ? not_found("ingest " + ref) : Status();
  }
  std::unique_ptr<BlobWriter> write(const Context&) override {
    return std::make_unique<Writer>(*this);
  }

  /// Puts a blob there, as a commit that nobody recorded would.
  std::string put(const std::string& bytes) {
    const std::string digest = digest_of(bytes).string();
    blobs[digest] = bytes;
    return digest;
  }

 private:
  class Writer final : public BlobWriter {
   public:
    explicit Writer(FakeContent& store) : store_(store) {}
    Status exchange(const Request& head, std::string_view data, Response* response) override {
      if (!head.ref().empty()) ref_ = head.ref();
      EXPECT_FALSE(ref_.empty()) << "the first message has no ref";
      std::string& bytes = store_.ingests[ref_];
      if (head.action() != containerd::services::content::v1::STAT) {
        if (head.offset() == 0) bytes.clear();
        if (head.offset() != static_cast<int64_t>(bytes.size())) return out_of_range("offset");
        bytes += data;
      }
      const std::string digest = digest_of(bytes).string();
      response->set_action(head.action());
      response->set_offset(static_cast<int64_t>(bytes.size()));
      response->set_digest(digest);
      if (head.action() == containerd::services::content::v1::COMMIT) {
        const bool existed = !store_.blobs.emplace(digest, bytes).second;
        store_.ingests.erase(ref_);
        if (existed) return already_exists("blob " + digest);
      }
      return {};
    }

   private:
    FakeContent& store_;
    std::string ref_;
  };
};

/// A snapshotter as the first-party ones behave, without files.
class FakeSnapshotter final : public SnapshotBackend {
 public:
  std::map<std::string, Info> snapshots;  // by name
  std::vector<std::string> removed;       // in order
  int cleanups = 0;
  std::function<Status(const std::string& name)> before_remove = [](const std::string&) {
    return Status();
  };
  std::function<void()> before_create = [] {};  // runs once

  Status prepare(const Context&, const PrepareRequest& request,
                 PrepareResponse* response) override {
    response->add_mounts()->set_type("fake");
    return create(request.key(), request.parent(), request.labels(),
                  containerd::services::snapshots::v1::ACTIVE);
  }
  Status view(const Context&, const ViewRequest& request, ViewResponse* response) override {
    response->add_mounts()->set_type("fake");
    return create(request.key(), request.parent(), request.labels(),
                  containerd::services::snapshots::v1::VIEW);
  }
  Status commit(const Context&, const CommitRequest& request) override {
    const auto found = snapshots.find(request.key());
    if (found == snapshots.end()) return not_found("snapshot " + request.key());
    Info info = found->second;
    snapshots.erase(found);
    info.set_name(request.name());
    info.set_kind(containerd::services::snapshots::v1::COMMITTED);
    snapshots[request.name()] = info;
    return {};
  }
  Status mounts(const Context&, const std::string& key, MountsResponse* out) override {
    if (!snapshots.contains(key)) return not_found("snapshot " + key);
    out->add_mounts()->set_source(key);
    return {};
  }
  Status usage(const Context&, const std::string& key, UsageResponse* out) override {
    if (!snapshots.contains(key)) return not_found("snapshot " + key);
    out->set_size(7);
    return {};
  }
  Status stat(const Context&, const std::string& key, Info* out) override {
    const auto found = snapshots.find(key);
    if (found == snapshots.end()) return not_found("snapshot " + key);
    *out = found->second;
    return {};
  }
  Status update(const Context& context, const UpdateRequest& request, Info* out) override {
    return stat(context, request.info().name(), out);
  }
  Status remove(const Context&, const std::string& key) override {
    BERTH_RETURN_IF_ERROR(before_remove(key));
    for (const auto& [name, info] : snapshots) {
      if (info.parent() == key) return failed_precondition("snapshot " + key + " has children");
    }
    if (snapshots.erase(key) == 0) return not_found("snapshot " + key);
    removed.push_back(key);
    return {};
  }
  Status cleanup(const Context&) override {
    ++cleanups;
    return {};
  }
  Status list(const Context&, const std::vector<std::string>&,
              const std::function<bool(const Info&)>& visit) override {
    for (const auto& [name, info] : snapshots) {
      if (!visit(info)) break;
    }
    return {};
  }

 private:
  Status create(const std::string& key, const std::string& parent,
                const google::protobuf::Map<std::string, std::string>& labels,
                containerd::services::snapshots::v1::Kind kind) {
    std::exchange(before_create, [] {})();
    // As a snapshotter that fetches layers: the target is there already.
    const auto target = labels.find("containerd.io/snapshot.ref");
    if (target != labels.end()) {
      for (const auto& [name, info] : snapshots) {
        const auto label = info.labels().find("containerd.io/snapshot.ref");
        if (label != info.labels().end() && label->second == target->second) {
          return already_exists("target");
        }
      }
    }
    Info& info = snapshots[key];
    info.set_name(key);
    info.set_parent(parent);
    info.set_kind(kind);
    *info.mutable_labels() = labels;
    return {};
  }
};

}  // namespace berth::metadata
