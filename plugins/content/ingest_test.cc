#include "ingest.h"

#include <atomic>
#include <thread>

#include "testing.h"

namespace berth::content {
namespace {

namespace fs = std::filesystem;
using IngestTest = StoreTest;

TEST_F(IngestTest, OneWriterPerRef) {
  auto first = begin("ref");
  const auto second = store_->begin("ref", 0, {});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), Code::kUnavailable);
  EXPECT_NE(second.status().message().find("locked"), std::string::npos);
  EXPECT_TRUE(store_->begin("other", 0, {}).ok());
  first.reset();
  EXPECT_TRUE(store_->begin("ref", 0, {}).ok());
}

TEST_F(IngestTest, AWriterThatGoesLeavesItsBytesToTheNext) {
  const std::string bytes = pattern(300'000);
  auto ingest = begin("ref", 300'000);
  ASSERT_TRUE(ingest->write(std::string_view(bytes).substr(0, 200'000)).ok());
  const timespec started = ingest->started();
  ingest.reset();
  reopen();  // as after a restart

  ingest = begin("ref", 300'000);
  EXPECT_EQ(ingest->offset(), 200'000);
  EXPECT_EQ(ingest->started().tv_sec, started.tv_sec);
  EXPECT_EQ(ingest->started().tv_nsec, started.tv_nsec);
  EXPECT_EQ(ingest->digest(), digest_of(bytes.substr(0, 200'000)));
  ASSERT_TRUE(ingest->write(std::string_view(bytes).substr(200'000)).ok());
  ASSERT_TRUE(ingest->commit(300'000, digest_of(bytes)).ok());
  EXPECT_EQ(read_file(blob_path(digest_of(bytes))), bytes);
  ingest.reset();
  EXPECT_TRUE(ingest_names().empty());
}

TEST_F(IngestTest, AnotherTotalStartsOver) {
  begin("ref", 100)->write("old bytes").ok();
  auto ingest = begin("ref", 5);
  EXPECT_EQ(ingest->offset(), 0);
  ASSERT_TRUE(ingest->write("12345").ok());
  ASSERT_TRUE(ingest->commit(5, {}).ok());
  EXPECT_EQ(read_file(blob_path(digest_of("12345"))), "12345");
}

TEST_F(IngestTest, TimesNeverGoBack) {
  auto ingest = begin("ref");
  const timespec started = ingest->started();
  ASSERT_TRUE(ingest->write("x").ok());
  const timespec updated = ingest->updated();
  EXPECT_FALSE(updated.tv_sec < started.tv_sec);
  ingest.reset();
  const auto status = store_->status("ref");
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(status->started.tv_nsec, started.tv_nsec);
  EXPECT_GE(status->updated.tv_sec * 1'000'000'000 + status->updated.tv_nsec,
            updated.tv_sec * 1'000'000'000 + updated.tv_nsec);
}

TEST_F(IngestTest, WrongSizeOrDigestIsRefusedAndTheBytesStay) {
  auto ingest = begin("ref");
  ASSERT_TRUE(ingest->write("contents").ok());
  const Status size = ingest->commit(9, {});
  EXPECT_EQ(size.code(), Code::kFailedPrecondition);
  EXPECT_NE(size.message().find("unexpected commit size 8, expected 9"), std::string::npos)
      << size.message();
  EXPECT_EQ(ingest->write("more").code(), Code::kFailedPrecondition);  // this writer is spent
  ingest.reset();

  ingest = begin("ref");
  EXPECT_EQ(ingest->offset(), 8);
  const Status digest = ingest->commit(8, digest_of("other"));
  EXPECT_EQ(digest.code(), Code::kFailedPrecondition);
  EXPECT_NE(digest.message().find("unexpected commit digest " + digest_of("contents").string()),
            std::string::npos);
  ingest.reset();

  EXPECT_FALSE(fs::exists(blob_path(digest_of("contents"))));
  ASSERT_TRUE(begin("ref")->commit(8, digest_of("contents")).ok());
}

TEST_F(IngestTest, BytesThatChangedOnDiskAreFoundOut) {
  const std::string bytes = pattern(100'000);
  begin("ref")->write(bytes).ok();
  std::string damaged = bytes;
  damaged[50'000] ^= 1;
  write_file(ingest_path("ref") + "/data", damaged);
  auto ingest = begin("ref");
  EXPECT_EQ(ingest->commit(0, digest_of(bytes)).code(), Code::kFailedPrecondition);
}

TEST_F(IngestTest, AKnownBlobIsNotWrittenAgain) {
  const Digest digest = put("contents");
  EXPECT_EQ(store_->begin("ref", 0, digest).status().code(), Code::kAlreadyExists);
  EXPECT_TRUE(ingest_names().empty());

  auto ingest = begin("ref");
  ASSERT_TRUE(ingest->write("contents").ok());
  EXPECT_EQ(ingest->commit(0, {}).code(), Code::kAlreadyExists);
  ingest.reset();
  EXPECT_TRUE(ingest_names().empty());
  EXPECT_TRUE(store_->info(digest).ok());
}

TEST_F(IngestTest, OtherAlgorithms) {
  const std::string bytes = pattern(5000);
  const Digest wide = digest_of(bytes, DigestAlgorithm::kSha512);
  auto ingest = begin("early", 0, wide);
  ASSERT_TRUE(ingest->write(bytes).ok());
  EXPECT_EQ(ingest->digest(), wide);
  ASSERT_TRUE(ingest->commit(0, wide).ok());
  EXPECT_EQ(read_file(blob_path(wide)), bytes);

  const Digest late = digest_of(bytes, DigestAlgorithm::kSha384);  // told at commit: hashed again
  ingest = begin("late");
  ASSERT_TRUE(ingest->write(bytes).ok());
  ASSERT_TRUE(ingest->commit(0, late).ok());
  EXPECT_EQ(read_file(blob_path(late)), bytes);
}

TEST_F(IngestTest, TruncateStartsOver) {
  auto ingest = begin("ref");
  ASSERT_TRUE(ingest->write("some longer text").ok());
  ASSERT_TRUE(ingest->truncate().ok());
  EXPECT_EQ(ingest->offset(), 0);
  ASSERT_TRUE(ingest->write("short").ok());
  ASSERT_TRUE(ingest->commit(5, digest_of("short")).ok());
}

TEST_F(IngestTest, TheEmptyBlob) {
  auto ingest = begin("ref");
  ASSERT_TRUE(ingest->commit(0, digest_of("")).ok());
  const auto info = store_->info(digest_of(""));
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->size, 0);
}

TEST_F(IngestTest, AbortedUnderItsWriter) {
  auto ingest = begin("ref");
  ASSERT_TRUE(ingest->write("x").ok());
  ASSERT_TRUE(store_->abort("ref").ok());
  EXPECT_EQ(ingest->commit(0, {}).code(), Code::kAborted);
  ingest.reset();
  EXPECT_TRUE(ingest_names().empty());
  EXPECT_FALSE(store_->info(digest_of("x")).ok());
  EXPECT_TRUE(begin("ref")->write("y").ok());
}

TEST_F(IngestTest, RefsMayBeAnythingButEmpty) {
  EXPECT_EQ(store_->begin("", 0, {}).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(store_->begin(std::string(1 << 20, 'r'), 0, {}).status().code(),
            Code::kInvalidArgument);
  for (const std::string& ref : {std::string("../../etc/passwd"), std::string("a/b\nc"),
                                 std::string("\0x", 2), std::string(5000, 'r')}) {
    begin(ref)->write("x").ok();
    const auto status = store_->status(ref);
    ASSERT_TRUE(status.ok());
    EXPECT_EQ(status->ref, ref);
    EXPECT_TRUE(store_->abort(ref).ok());
  }
}

// Large pieces take the path with a second thread; sizes around the threshold, and more writers
// than lanes.
TEST_F(IngestTest, ManyWritersAtOnce) {
  constexpr int kWriters = 12;
  std::atomic<int> committed = 0;
  std::vector<std::thread> writers;
  for (int i = 0; i < kWriters; ++i) {
    writers.emplace_back([&, i] {
      const std::string bytes = pattern(3 << 20, static_cast<uint32_t>(i));
      auto ingest = store_->begin("ref " + std::to_string(i), 0, {});
      if (!ingest.ok()) return;
      std::string_view rest = bytes;
      size_t size = HashLanes::kWorthwhile - 1;
      while (!rest.empty()) {
        const std::string_view piece = rest.substr(0, size++);
        if (!(*ingest)->write(piece).ok()) return;
        rest.remove_prefix(piece.size());
      }
      if ((*ingest)->commit(3 << 20, digest_of(bytes)).ok()) ++committed;
    });
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(committed, kWriters);
  for (int i = 0; i < kWriters; ++i) {
    const std::string bytes = pattern(3 << 20, static_cast<uint32_t>(i));
    EXPECT_EQ(read_file(blob_path(digest_of(bytes))), bytes) << i;
  }
}

TEST_F(IngestTest, OneOfManyCommitsOfTheSameBytesWins) {
  constexpr int kWriters = 8;
  std::atomic<int> committed = 0;
  std::atomic<int> existed = 0;
  std::vector<std::thread> writers;
  for (int i = 0; i < kWriters; ++i) {
    writers.emplace_back([&, i] {
      auto ingest = store_->begin("ref " + std::to_string(i), 0, {});
      if (!ingest.ok() || !(*ingest)->write("the same").ok()) return;
      const Status status = (*ingest)->commit(0, {});
      if (status.ok()) ++committed;
      if (status.code() == Code::kAlreadyExists) ++existed;
    });
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(committed, 1);
  EXPECT_EQ(existed, kWriters - 1);
  EXPECT_TRUE(ingest_names().empty());
}

}  // namespace
}  // namespace berth::content
