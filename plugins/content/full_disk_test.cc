// A disk that is full in the middle of an ingest. Needs root, to mount a small tmpfs.
#include <sys/mount.h>

#include "testing.h"
#include "write_session.h"

namespace berth::content {
namespace {

namespace fs = std::filesystem;

class FullDiskTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::mount("tmpfs", directory_.path().c_str(), "tmpfs", MS_NOSUID | MS_NODEV, "size=4m") !=
        0) {
      GTEST_SKIP() << "cannot mount a tmpfs here: " << std::strerror(errno);
    }
    mounted_ = true;
    auto store = Store::open(directory_.path() + "/store", [](const std::string&) {});
    ASSERT_TRUE(store.ok());
    store_ = std::move(*store);
  }
  void TearDown() override {
    store_.reset();
    if (mounted_) {
      EXPECT_EQ(::umount2(directory_.path().c_str(), MNT_DETACH), 0);
    }
  }
  size_t blobs() const {
    size_t count = 0;
    EXPECT_TRUE(store_
                    ->walk([&](const BlobInfo&) {
                      ++count;
                      return Status();
                    })
                    .ok());
    return count;
  }

  TemporaryDirectory directory_;
  bool mounted_ = false;
  std::unique_ptr<Store> store_;
};

TEST_F(FullDiskTest, AnIngestThatFindsNoRoomCanBeResumedOrAborted) {
  const std::string bytes = pattern(5 << 20);
  auto ingest = store_->begin("big", 5 << 20, {});
  ASSERT_TRUE(ingest.ok());
  std::string_view rest = bytes;
  Status status;
  while (status.ok() && !rest.empty()) {
    status = (*ingest)->write(rest.substr(0, 512 << 10));
    if (status.ok()) rest.remove_prefix(512 << 10);
  }
  ASSERT_EQ(status.code(), Code::kResourceExhausted) << status.to_string();
  EXPECT_NE(status.message().find(directory_.path()), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("/data"), std::string::npos) << status.message();
  const auto written = static_cast<int64_t>(bytes.size() - rest.size());
  EXPECT_EQ((*ingest)->commit(0, {}).code(), Code::kFailedPrecondition);
  EXPECT_EQ(blobs(), 0U);
  ingest->reset();

  const auto kept = store_->status("big");
  ASSERT_TRUE(kept.ok()) << kept.status().to_string();
  EXPECT_EQ(kept->offset, written);  // the half-written piece is gone

  ASSERT_EQ(::mount("tmpfs", directory_.path().c_str(), "tmpfs", MS_REMOUNT, "size=16m"), 0);
  ingest = store_->begin("big", 5 << 20, {});
  ASSERT_TRUE(ingest.ok());
  EXPECT_EQ((*ingest)->offset(), written);
  ASSERT_TRUE((*ingest)->write(rest).ok());
  ASSERT_TRUE((*ingest)->commit(5 << 20, digest_of(bytes)).ok());
}

TEST_F(FullDiskTest, AbortFreesTheRoom) {
  auto ingest = store_->begin("big", 0, {});
  const std::string piece = pattern(256 << 10);
  while ((*ingest)->write(piece).ok()) {
  }
  ingest->reset();
  ASSERT_TRUE(store_->abort("big").ok());
  auto small = store_->begin("small", 0, {});
  ASSERT_TRUE(small.ok()) << small.status().to_string();
  EXPECT_TRUE((*small)->write(piece).ok());
  EXPECT_TRUE((*small)->commit(0, {}).ok());
}

TEST_F(FullDiskTest, NoRoomToBeginLeavesNothing) {
  write_file(directory_.path() + "/ballast", pattern(8 << 20));
  const auto ingest = store_->begin("ref", 100, {});
  ASSERT_FALSE(ingest.ok());
  EXPECT_EQ(ingest.status().code(), Code::kResourceExhausted) << ingest.status().to_string();
  EXPECT_TRUE(fs::is_empty(directory_.path() + "/store/ingest"));
  fs::remove(directory_.path() + "/ballast");
  EXPECT_TRUE(store_->begin("ref", 100, {}).ok());
}

}  // namespace
}  // namespace berth::content
