// Level "serves", for content stores: how blobs come in.
#include <fcntl.h>
#include <sys/stat.h>

#include <atomic>
#include <latch>
#include <thread>

#include "testing/must.h"
#include "validate/kits/content_kit.h"

namespace berth::ctl::validate {

using Names = std::vector<std::string>;
using berth::testing::must;

TEST_F(ContentKit, LifeOfABlob) {
  const std::string bytes = pattern(300'000);
  const std::string digest = digest_of(bytes).string();
  BlobWriter writer(client_, "ref");
  ASSERT_TRUE(writer.stat().ok());
  EXPECT_EQ(writer.last().offset(), 0);
  ASSERT_TRUE(writer.write(bytes.substr(0, 100'000), 0).ok());
  EXPECT_EQ(writer.last().offset(), 100'000);
  ASSERT_TRUE(writer.write(bytes.substr(100'000), 100'000).ok());
  EXPECT_EQ(writer.last().offset(), 300'000);
  expect_absent(digest);  // all bytes are there, and it is no blob before it is committed
  const Status committed = writer.commit(digest, 300'000);
  ASSERT_TRUE(committed.ok()) << committed.to_string();
  EXPECT_EQ(writer.last().digest(), digest);
  EXPECT_EQ(writer.last().offset(), 300'000);
  expect_blob(digest, bytes);
  EXPECT_GT(must(info(digest)).created_at().seconds(), 1'600'000'000);
  EXPECT_EQ(status("ref").status().code(), Code::kNotFound) << "the ingest is still there";
  EXPECT_EQ(must(list()), Names{digest});
  ASSERT_TRUE(remove(digest).ok());
  expect_absent(digest);
  EXPECT_EQ(remove(digest).code(), Code::kNotFound);
  ASSERT_TRUE(put("ref", bytes).ok()) << "a blob that was deleted can come again";
  expect_blob(digest, bytes);
}

TEST_F(ContentKit, CommitTakesTheLastBytesWithIt) {
  content_api::WriteContentRequest request;
  request.set_action(content_api::WriteAction::COMMIT);
  request.set_ref("at once");
  request.set_data("all of it");
  request.set_total(9);
  request.set_expected(digest_of("all of it").string());
  auto stream = client_.Write(Context());
  content_api::WriteContentResponse response;
  ASSERT_TRUE(stream.Write(request) && stream.Read(&response)) << stream.Finish().to_string();
  EXPECT_EQ(response.digest(), request.expected());
  expect_blob(request.expected(), "all of it");
}

TEST_F(ContentKit, NothingNeedBeSaidOfWhatIsExpected) {
  const std::string bytes = pattern(1000);
  BlobWriter writer(client_, "ref");
  ASSERT_TRUE(writer.stat().ok());
  ASSERT_TRUE(writer.append(bytes).ok());
  const Status committed = writer.commit({}, 0);
  ASSERT_TRUE(committed.ok()) << committed.to_string();
  EXPECT_EQ(writer.last().digest(), digest_of(bytes).string());
  expect_blob(digest_of(bytes).string(), bytes);
}

TEST_F(ContentKit, EmptyBlobs) {
  const std::string digest = digest_of("").string();
  const Status stored = put("nothing", "");
  ASSERT_TRUE(stored.ok()) << stored.to_string();
  expect_blob(digest, "");
}

TEST_F(ContentKit, HugeBlobs) {
  const std::string bytes = pattern(48U << 20);
  const Status stored = put("much", bytes);
  ASSERT_TRUE(stored.ok()) << stored.to_string();
  expect_blob(digest_of(bytes).string(), bytes);
}

TEST_F(ContentKit, WrongDigestsAndSizesAreRefused) {
  const std::string bytes = pattern(5000);
  const std::string digest = digest_of(bytes).string();
  const std::string other = digest_of("other").string();
  const struct {
    std::string expected;
    int64_t total;
  } wrong[] = {{other, 5000}, {other, 0}, {digest, 4999}, {digest, 5001}, {{}, 4999}};
  for (const auto& [expected, total] : wrong) {
    auto writer = take("ref");
    ASSERT_NE(writer, nullptr);
    ASSERT_TRUE(writer->write(bytes, 0).ok());
    EXPECT_EQ(writer->commit(expected, total).code(), Code::kFailedPrecondition)
        << "5000 bytes committed as " << total << " bytes of \"" << expected << "\"";
    expect_absent(digest);
    expect_absent(other);
  }
  // What came is not lost by it.
  auto writer = take("ref");
  ASSERT_NE(writer, nullptr);
  EXPECT_EQ(writer->last().offset(), 5000);
  const Status committed = writer->commit(digest, 5000);
  EXPECT_TRUE(committed.ok()) << committed.to_string();
  expect_blob(digest, bytes);
}

TEST_F(ContentKit, BlobsThatAreThere) {
  const std::string bytes = pattern(5000);
  const std::string digest = digest_of(bytes).string();
  ASSERT_TRUE(put("first", bytes).ok());
  EXPECT_EQ(put("second", bytes).code(), Code::kAlreadyExists);
  {
    BlobWriter writer(client_, "third");
    EXPECT_EQ(writer.stat(digest, 5000).code(), Code::kAlreadyExists)
        << "who says what is expected need not send it";
  }
  expect_blob(digest, bytes);
  EXPECT_EQ(must(refs()), Names()) << "ingests are left";
}

TEST_F(ContentKit, OffsetsMustFit) {
  const std::string bytes = pattern(3000);
  {
    BlobWriter writer(client_, "ref");
    ASSERT_TRUE(writer.write(bytes.substr(0, 1000), 0).ok());
    EXPECT_EQ(writer.write("x", 1001).code(), Code::kOutOfRange) << "a hole";
  }
  {
    auto writer = take("ref");
    ASSERT_NE(writer, nullptr);
    EXPECT_EQ(writer->last().offset(), 1000);
    EXPECT_EQ(writer->write("x", 999).code(), Code::kOutOfRange) << "bytes that are there";
  }
  auto writer = take("ref");
  ASSERT_NE(writer, nullptr);
  ASSERT_TRUE(writer->write("other", 0).ok());
  EXPECT_EQ(writer->last().offset(), 5) << "a write at 0 does not begin anew";
  ASSERT_TRUE(writer->write(bytes, 0).ok());
  const Status committed = writer->commit(digest_of(bytes).string(), 3000);
  ASSERT_TRUE(committed.ok()) << committed.to_string();
  expect_blob(digest_of(bytes).string(), bytes);
}

TEST_F(ContentKit, ResumesWhereAWriterWent) {
  const std::string bytes = pattern(2'000'000);
  for (const bool properly : {true, false}) {
    const std::string digest = digest_of(bytes).string();
    {
      BlobWriter writer(client_, "ref");
      ASSERT_TRUE(writer.stat().ok());
      ASSERT_TRUE(writer.append(bytes.substr(0, 700'000)).ok());
      if (properly) {
        ASSERT_TRUE(writer.close().ok());
      }
    }  // cancelled, else
    auto writer = take("ref");
    ASSERT_NE(writer, nullptr);
    ASSERT_EQ(writer->last().offset(), 700'000);
    ASSERT_TRUE(writer->append(bytes.substr(700'000)).ok());
    const Status committed = writer->commit(digest, 2'000'000);
    ASSERT_TRUE(committed.ok()) << committed.to_string();
    expect_blob(digest, bytes);
    ASSERT_TRUE(remove(digest).ok());
  }
}

TEST_F(ContentKit, OneWriterOfARef) {
  const std::string bytes = pattern(2000);
  BlobWriter first(client_, "ref");
  ASSERT_TRUE(first.stat().ok());
  ASSERT_TRUE(first.append(bytes.substr(0, 1000)).ok());
  constexpr int kOthers = 6;
  std::atomic<int> refused = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kOthers; ++i) {
    threads.emplace_back([&] {
      BlobWriter other(client_, "ref");
      if (other.stat().code() == Code::kUnavailable) ++refused;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(refused, kOthers) << "a ref that is being written is UNAVAILABLE to others";
  ASSERT_TRUE(first.append(bytes.substr(1000)).ok());
  ASSERT_TRUE(first.commit(digest_of(bytes).string(), 2000).ok());
  expect_blob(digest_of(bytes).string(), bytes);
}

TEST_F(ContentKit, OneOfManyGetsARef) {
  constexpr int kWriters = 8;
  std::atomic<int> got = 0;
  std::atomic<int> refused = 0;
  std::latch asked(kWriters);
  std::vector<std::thread> threads;
  for (int i = 0; i < kWriters; ++i) {
    threads.emplace_back([&] {
      BlobWriter writer(client_, "ref");
      const Status opened = writer.stat();
      if (opened.ok()) ++got;
      if (opened.code() == Code::kUnavailable) ++refused;
      asked.arrive_and_wait();  // nobody lets go before all have asked
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(got, 1);
  EXPECT_EQ(refused, kWriters - 1);
}

TEST_F(ContentKit, ManyBringTheSameBlob) {
  const std::string bytes = pattern(400'000);
  const std::string digest = digest_of(bytes).string();
  constexpr int kWriters = 8;
  std::atomic<int> stored = 0;
  std::atomic<int> refused = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kWriters; ++i) {
    threads.emplace_back([&, i] {
      const Status status = put("ref-" + std::to_string(i), bytes);
      if (status.ok()) ++stored;
      if (status.code() == Code::kAlreadyExists) ++refused;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GE(stored, 1);
  EXPECT_EQ(stored + refused, kWriters) << "others than the first get ALREADY_EXISTS";
  expect_blob(digest, bytes);
  EXPECT_EQ(must(list()), Names{digest});
  EXPECT_EQ(must(refs()), Names()) << "ingests are left";
}

TEST_F(ContentKit, AbortForgetsAnIngest) {
  ASSERT_NO_FATAL_FAILURE(leave("ref", "some bytes"));
  ASSERT_TRUE(status("ref").ok());
  const Status aborted = abort("ref");
  ASSERT_TRUE(aborted.ok()) << aborted.to_string();
  EXPECT_EQ(status("ref").status().code(), Code::kNotFound);
  EXPECT_EQ(abort("ref").code(), Code::kNotFound);
  EXPECT_EQ(abort("never was").code(), Code::kNotFound);
  auto writer = take("ref");
  ASSERT_NE(writer, nullptr);
  EXPECT_EQ(writer->last().offset(), 0) << "bytes of before are still there";
}

TEST_F(ContentKit, StatusOfIngests) {
  {
    BlobWriter writer(client_, "one/layer");
    ASSERT_TRUE(writer.stat({}, 4000).ok());
    ASSERT_TRUE(writer.append(pattern(1000)).ok());
    const auto seen = status("one/layer");
    ASSERT_TRUE(seen.ok()) << seen.status().to_string();
    EXPECT_EQ(seen->ref(), "one/layer");
    EXPECT_EQ(seen->offset(), 1000) << "of a writer that is at work";
    EXPECT_EQ(seen->total(), 4000);
    EXPECT_GT(seen->started_at().seconds(), 1'600'000'000);
    EXPECT_GE(seen->updated_at().seconds(), seen->started_at().seconds());
    ASSERT_TRUE(writer.close().ok());
  }
  ASSERT_NO_FATAL_FAILURE(leave("two", "x"));
  ASSERT_NO_FATAL_FAILURE(leave("three", "x"));
  EXPECT_EQ(must(refs()), (Names{"one/layer", "three", "two"}));
  EXPECT_EQ(must(refs({"ref==two"})), Names{"two"});
  EXPECT_EQ(must(refs({"ref==two", "ref==three"})), (Names{"three", "two"}))
      << "one of them must match";
  EXPECT_EQ(must(refs({"ref~=\"^t\""})), (Names{"three", "two"}));
  EXPECT_EQ(must(refs({"ref==four"})), Names());
  EXPECT_EQ(refs({"ref="}).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(status("four").status().code(), Code::kNotFound);
}

TEST_F(ContentKit, RefsAreNamesAndNoPaths) {
  for (const std::string ref :
       {"../../../escaped", "/escaped", "a/b/../c", ".", "..", "with space", "\xe2\x9a\x93"}) {
    const std::string bytes = "the bytes of " + ref;
    const Status stored = put(ref, bytes);
    ASSERT_TRUE(stored.ok()) << "ref " << ref << ": " << stored.to_string();
    expect_blob(digest_of(bytes).string(), bytes);
  }
  BlobWriter nameless(client_, "");
  EXPECT_EQ(nameless.stat().code(), Code::kInvalidArgument) << "no ref";
  struct stat status {};
  EXPECT_NE(::lstat((directory_ + "/escaped").c_str(), &status), 0);
  EXPECT_NE(::lstat((directory_ + "/../escaped").c_str(), &status), 0);
  EXPECT_NE(::lstat("/escaped", &status), 0);
}

}  // namespace berth::ctl::validate
