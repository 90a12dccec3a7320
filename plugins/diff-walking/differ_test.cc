// The service on the real bus, against a content store in memory. Needs root.
#include "differ.h"

#include <berth/digest.h>
#include <berth/testing/fake_host.h>
#include <gmock/gmock.h>
#include <sys/mman.h>

#include <mutex>

#include "compress.h"
#include "testing.h"

namespace berth::diff_walking {
namespace {

namespace content_api = containerd::services::content::v1;
namespace diff_api = containerd::services::diff::v1;
using containerd::services::diff::v1::DiffClient;
using testing::bytes_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::RawTar;
using testing::read_file;
using testing::TempDir;
using testing::write_file;

struct Blob {
  std::string bytes;
  std::map<std::string, std::string> labels;
};

/// What the test and the service have in common.
struct Blobs {
  std::mutex mutex;
  std::map<std::string, Blob> blobs;
  std::vector<std::string> aborted;
  bool give_descriptors = true;
  bool fail_commits = false;
  std::string ns;

  std::string add(const std::string& bytes) {
    const std::string digest = digest_of(bytes).string();
    blobs[digest].bytes = bytes;
    return digest;
  }
};

class FakeContent final : public content_api::ContentService {
 public:
  explicit FakeContent(Blobs* blobs) : blobs_(blobs) {}

  berth::Status Info(Context&, const content_api::InfoRequest& request,
                     content_api::InfoResponse* response) override {
    const std::lock_guard lock(blobs_->mutex);
    const auto found = blobs_->blobs.find(request.digest());
    if (found == blobs_->blobs.end()) return not_found("content " + request.digest());
    response->mutable_info()->set_digest(request.digest());
    for (const auto& [key, value] : found->second.labels) {
      (*response->mutable_info()->mutable_labels())[key] = value;
    }
    return {};
  }

  berth::Status Update(Context&, const content_api::UpdateRequest& request,
                       content_api::UpdateResponse*) override {
    const std::lock_guard lock(blobs_->mutex);
    for (const std::string& path : request.update_mask().paths()) {
      const std::string key = path.substr(std::string("labels.").size());
      blobs_->blobs.at(request.info().digest()).labels[key] = request.info().labels().at(key);
    }
    return {};
  }

  berth::Status Read(Context& context, const content_api::ReadContentRequest& request,
                     ServerWriter<content_api::ReadContentResponse>& writer) override {
    std::string bytes;
    {
      const std::lock_guard lock(blobs_->mutex);
      blobs_->ns = context.ns();
      const auto found = blobs_->blobs.find(request.digest());
      if (found == blobs_->blobs.end()) return not_found("content " + request.digest());
      bytes = found->second.bytes;
    }
    content_api::ReadContentResponse response;
    if (blobs_->give_descriptors && context.header("berth-accept-fds") == "1") {
      UniqueFd fd(::memfd_create("blob", MFD_CLOEXEC));
      if (::write(fd.get(), bytes.data(), bytes.size()) < 0) return errno_status(errno, "write");
      std::vector<UniqueFd> fds;
      fds.push_back(std::move(fd));
      (void)writer.call().send_with_fds(Message::of(response), std::move(fds));
      return {};
    }
    for (size_t at = 0; at < bytes.size(); at += 1000) {
      response.set_offset(static_cast<int64_t>(at));
      response.set_data(bytes.substr(at, 1000));
      if (!writer.Write(response)) break;
    }
    return {};
  }

  berth::Status Write(Context&, ServerStream<content_api::WriteContentRequest,
                                             content_api::WriteContentResponse>& stream) override {
    content_api::WriteContentRequest request;
    std::string bytes = "of an earlier attempt";
    while (stream.Read(&request)) {
      if (request.action() != content_api::WriteAction::STAT) {
        if (request.offset() == 0) bytes.clear();
        if (request.offset() != static_cast<int64_t>(bytes.size())) return out_of_range("offset");
        bytes += request.data();
      }
      content_api::WriteContentResponse response;
      response.set_offset(static_cast<int64_t>(bytes.size()));
      if (request.action() == content_api::WriteAction::COMMIT) {
        const std::lock_guard lock(blobs_->mutex);
        const std::string digest = digest_of(bytes).string();
        if (blobs_->fail_commits) return resource_exhausted("the disk is full");
        if (digest != request.expected()) return failed_precondition("digest");
        if (blobs_->blobs.contains(digest)) return already_exists("content " + digest);
        blobs_->blobs[digest] = {bytes, {request.labels().begin(), request.labels().end()}};
      }
      if (!stream.Write(response)) break;
    }
    return {};
  }

  berth::Status Abort(Context&, const content_api::AbortRequest& request,
                      google::protobuf::Empty*) override {
    const std::lock_guard lock(blobs_->mutex);
    blobs_->aborted.push_back(request.ref());
    return {};
  }

 private:
  Blobs* blobs_;
};

/// As in plugin.cc.
class TestDiffer final : public Differ {
 public:
  using Differ::Differ;
  static Result<std::unique_ptr<TestDiffer>> create(const Self& self) {
    return std::make_unique<TestDiffer>(self.connect_to<content_api::ContentClient>("content"),
                                        DifferOptions{std::string(self.property("state")), true});
  }
};

class DifferTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    host_.bind("content", host_.serve<FakeContent>(std::make_unique<FakeContent>(&blobs_)));
    ASSERT_TRUE(host_.start<TestDiffer>("io.containerd.differ.v1", "walking").ok());
  }

  berth::Status apply(const std::string& digest, const std::string& media_type,
                      diff_api::ApplyResponse* response) {
    diff_api::ApplyRequest request;
    request.mutable_diff()->set_media_type(media_type);
    request.mutable_diff()->set_digest(digest);
    containerd::types::Mount* mount = request.add_mounts();
    mount->set_type("bind");
    mount->set_source(scratch_.dir("root"));
    mount->add_options("rw");
    return DiffClient(host_.target()).Apply(Context().with_ns("ns"), request, response);
  }

  berth::Status diff(const std::string& media_type, const std::string& ref,
                     diff_api::DiffResponse* response) {
    diff_api::DiffRequest request;
    for (const std::string side : {"a", "b"}) {
      containerd::types::Mount* mount = side == "a" ? request.add_left() : request.add_right();
      mount->set_type("bind");
      mount->set_source(scratch_.dir(side));
      mount->add_options("ro");
    }
    request.set_media_type(media_type);
    request.set_ref(ref);
    (*request.mutable_labels())["label"] = "value";
    request.mutable_source_date_epoch()->set_seconds(1000);
    return DiffClient(host_.target()).Diff(Context().with_ns("ns"), request, response);
  }

  Blobs blobs_;
  TempDir scratch_;
  berth::testing::FakeHost host_;
};

constexpr char kGzipLayer[] = "application/vnd.oci.image.layer.v1.tar+gzip";
constexpr char kPlainLayer[] = "application/vnd.oci.image.layer.v1.tar";

TEST(MediaTypeTest, KnowsLayers) {
  for (const char* type : {kPlainLayer, kGzipLayer, "application/vnd.oci.image.layer.v1.tar+zstd",
                           "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
                           "application/vnd.docker.image.rootfs.diff.tar.gzip",
                           "application/vnd.docker.image.rootfs.diff.tar.zstd",
                           "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"}) {
    EXPECT_TRUE(is_layer_media_type(type)) << type;
  }
  for (const char* type : {"", "application/vnd.oci.image.config.v1+json",
                           "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
                           "application/vnd.oci.image.layer.v1.targz"}) {
    EXPECT_FALSE(is_layer_media_type(type)) << type;
  }
  EXPECT_EQ(*compression_of_media_type(""), Compression::kGzip);
  EXPECT_EQ(*compression_of_media_type("application/vnd.oci.image.layer.v1.tar+zstd"),
            Compression::kZstd);
  EXPECT_EQ(compression_of_media_type("application/vnd.docker.image.rootfs.diff.tar.gzip")
                .status()
                .code(),
            Code::kUnimplemented);
}

TEST_F(DifferTest, AppliesFromADescriptorAndFromMessages) {
  const std::string archive = RawTar().file("file", std::string(50000, 'x')).end();
  testing::StringSink compressed;
  const auto gzip = make_compressor(Compression::kGzip, &compressed);
  ASSERT_TRUE(gzip->write(bytes_of(archive)).ok() && gzip->finish().ok());
  for (const std::string& blob : {archive, compressed.text}) {
    for (const bool descriptors : {true, false}) {
      blobs_.give_descriptors = descriptors;
      std::filesystem::remove_all(scratch_ / "root");
      diff_api::ApplyResponse response;
      const berth::Status status = apply(blobs_.add(blob), kGzipLayer, &response);
      ASSERT_TRUE(status.ok()) << status.to_string();
      EXPECT_EQ(response.applied().media_type(), kPlainLayer);
      EXPECT_EQ(response.applied().digest(), digest_of(archive).string());
      EXPECT_EQ(response.applied().size(), static_cast<int64_t>(archive.size()));
      EXPECT_EQ(read_file(scratch_ / "root/file"), std::string(50000, 'x'));
      EXPECT_EQ(blobs_.ns, "ns");
    }
  }
}

TEST_F(DifferTest, ApplyRefusesWhatItCannotDo) {
  diff_api::ApplyResponse response;
  const std::string absent = digest_of("absent").string();
  EXPECT_EQ(apply(absent, kGzipLayer, &response).code(), Code::kNotFound);
  const berth::Status unknown = apply(absent, "application/x-zip", &response);
  EXPECT_EQ(unknown.code(), Code::kUnimplemented);
  EXPECT_THAT(unknown.message(), HasSubstr("application/x-zip"));
  // The store gives other bytes than the digest stands for.
  blobs_.blobs[absent].bytes = RawTar().file("f", "").end();
  for (const bool descriptors : {true, false}) {
    blobs_.give_descriptors = descriptors;
    EXPECT_EQ(apply(absent, kGzipLayer, &response).code(), Code::kDataLoss);
  }
}

TEST_F(DifferTest, DiffStoresALayer) {
  write_file(scratch_ / "b/new", "new");
  diff_api::DiffResponse response;
  const berth::Status status = diff("", "", &response);
  ASSERT_TRUE(status.ok()) << status.to_string();
  EXPECT_EQ(response.diff().media_type(), kGzipLayer);
  const Blob blob = blobs_.blobs.at(response.diff().digest());
  EXPECT_EQ(response.diff().size(), static_cast<int64_t>(blob.bytes.size()));
  EXPECT_EQ(blob.labels.at("label"), "value");

  diff_api::ApplyResponse applied;
  ASSERT_TRUE(apply(response.diff().digest(), kGzipLayer, &applied).ok());
  EXPECT_EQ(read_file(scratch_ / "root/new"), "new");
  EXPECT_EQ(testing::stat_of(scratch_ / "root/new").st_mtim.tv_sec, 1000);
  EXPECT_EQ(blob.labels.at("containerd.io/uncompressed"), applied.applied().digest());
}

TEST_F(DifferTest, ALayerThatExistsIsSuccessAndGetsItsLabel) {
  write_file(scratch_ / "b/new", "new");
  diff_api::DiffResponse first;
  ASSERT_TRUE(diff(kGzipLayer, "my-ref", &first).ok());
  blobs_.blobs.at(first.diff().digest()).labels.clear();
  diff_api::DiffResponse second;
  const berth::Status status = diff(kGzipLayer, "my-ref", &second);
  ASSERT_TRUE(status.ok()) << status.to_string();
  EXPECT_EQ(second.diff().digest(), first.diff().digest());
  EXPECT_TRUE(blobs_.blobs.at(first.diff().digest()).labels.contains("containerd.io/uncompressed"));
}

TEST_F(DifferTest, AFailedDiffAbortsItsOwnIngestOnly) {
  write_file(scratch_ / "b/new", "new");
  blobs_.fail_commits = true;
  diff_api::DiffResponse response;
  EXPECT_EQ(diff(kPlainLayer, "my-ref", &response).code(), Code::kResourceExhausted);
  EXPECT_THAT(blobs_.aborted, ElementsAre());
  EXPECT_EQ(diff(kPlainLayer, "", &response).code(), Code::kResourceExhausted);
  EXPECT_THAT(blobs_.aborted, ElementsAre(HasSubstr("berth-diff-")));
  EXPECT_EQ(diff("application/x-zip", "", &response).code(), Code::kUnimplemented);
}

}  // namespace
}  // namespace berth::diff_walking
