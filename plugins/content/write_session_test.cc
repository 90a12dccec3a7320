#include "write_session.h"

#include "testing.h"

namespace berth::content {
namespace {

using containerd::services::content::v1::WriteAction;
using containerd::services::content::v1::WriteContentRequest;
using containerd::services::content::v1::WriteContentResponse;

WriteContentRequest request(WriteAction action, const std::string& ref = {}, int64_t offset = 0) {
  WriteContentRequest out;
  out.set_action(action);
  out.set_ref(ref);
  out.set_offset(offset);
  return out;
}

class WriteSessionTest : public StoreTest {
 protected:
  WriteSessionTest() { restart(); }
  void restart() {
    session_.reset();
    session_ = std::make_unique<WriteSession>(*store_);
  }
  Status send(const WriteContentRequest& message, const std::string& data = {}) {
    response_.Clear();
    WriteMessage parsed;
    parsed.request = message;
    parsed.data = data;
    return session_->handle(parsed, &response_);
  }
  std::unique_ptr<WriteSession> session_;
  WriteContentResponse response_;
};

TEST_F(WriteSessionTest, WritesAndCommits) {
  ASSERT_TRUE(send(request(WriteAction::STAT, "ref")).ok());
  EXPECT_EQ(response_.action(), WriteAction::STAT);
  EXPECT_EQ(response_.offset(), 0);
  EXPECT_EQ(response_.digest(), digest_of("").string());
  EXPECT_GT(response_.started_at().seconds(), 0);

  ASSERT_TRUE(send(request(WriteAction::WRITE), "hello ").ok());
  EXPECT_EQ(response_.offset(), 6);
  EXPECT_EQ(response_.digest(), digest_of("hello ").string());
  EXPECT_FALSE(session_->committed());

  auto commit = request(WriteAction::COMMIT, {}, 6);
  commit.set_total(11);
  commit.set_expected(digest_of("hello world").string());
  ASSERT_TRUE(send(commit, "world").ok());
  EXPECT_EQ(response_.action(), WriteAction::COMMIT);
  EXPECT_EQ(response_.offset(), 11);
  EXPECT_EQ(response_.digest(), digest_of("hello world").string());
  EXPECT_TRUE(session_->committed());
  EXPECT_TRUE(store_->info(digest_of("hello world")).ok());
}

TEST_F(WriteSessionTest, TheFirstMessageNamesTheRef) {
  EXPECT_EQ(send(request(WriteAction::STAT)).code(), Code::kInvalidArgument);
}

TEST_F(WriteSessionTest, ResumesOverAnotherStream) {
  auto first = request(WriteAction::WRITE, "ref");
  first.set_total(10);
  ASSERT_TRUE(send(first, "01234").ok());
  restart();
  auto stat = request(WriteAction::STAT, "ref");
  stat.set_total(10);
  ASSERT_TRUE(send(stat).ok());
  EXPECT_EQ(response_.offset(), 5);
  EXPECT_EQ(response_.total(), 10);
  EXPECT_EQ(response_.digest(), digest_of("01234").string());
  ASSERT_TRUE(send(request(WriteAction::WRITE, {}, 5), "56789").ok());
  ASSERT_TRUE(send(request(WriteAction::COMMIT, {}, 10)).ok());
  EXPECT_TRUE(store_->info(digest_of("0123456789")).ok());
}

TEST_F(WriteSessionTest, OffsetsMustBeCurrentOrZero) {
  ASSERT_TRUE(send(request(WriteAction::WRITE, "ref"), "01234").ok());
  EXPECT_EQ(send(request(WriteAction::WRITE, {}, 4), "x").code(), Code::kOutOfRange);
  EXPECT_EQ(send(request(WriteAction::WRITE, {}, 6), "x").code(), Code::kOutOfRange);
  EXPECT_EQ(send(request(WriteAction::COMMIT, {}, 6)).code(), Code::kOutOfRange);
  EXPECT_EQ(send(request(WriteAction::WRITE, {}, -1), "x").code(), Code::kInvalidArgument);
  ASSERT_TRUE(send(request(WriteAction::WRITE, {}, 5), "56").ok());
  EXPECT_EQ(response_.offset(), 7);
  ASSERT_TRUE(send(request(WriteAction::WRITE, {}, 0), "new").ok());  // starts over
  EXPECT_EQ(response_.offset(), 3);
  EXPECT_EQ(response_.digest(), digest_of("new").string());
}

TEST_F(WriteSessionTest, ALockedRefIsUnavailable) {
  ASSERT_TRUE(send(request(WriteAction::STAT, "ref")).ok());
  WriteSession other(*store_);
  WriteMessage stat;
  stat.request = request(WriteAction::STAT, "ref");
  WriteContentResponse response;
  EXPECT_EQ(other.handle(stat, &response).code(), Code::kUnavailable);
}

TEST_F(WriteSessionTest, WrongSizeAndDigestAreFailedPreconditions) {
  ASSERT_TRUE(send(request(WriteAction::WRITE, "ref"), "12345").ok());
  auto commit = request(WriteAction::COMMIT, {}, 5);
  commit.set_total(6);
  EXPECT_EQ(send(commit).code(), Code::kFailedPrecondition);
  restart();
  ASSERT_TRUE(send(request(WriteAction::STAT, "ref")).ok());
  commit.set_total(5);
  commit.set_expected(digest_of("other").string());
  EXPECT_EQ(send(commit).code(), Code::kFailedPrecondition);
  EXPECT_TRUE(store_->status("ref").ok());
}

TEST_F(WriteSessionTest, TheTotalOfTheFirstMessageCountsAtCommit) {
  auto first = request(WriteAction::WRITE, "ref");
  first.set_total(6);
  ASSERT_TRUE(send(first, "12345").ok());
  EXPECT_EQ(send(request(WriteAction::COMMIT, {}, 5)).code(), Code::kFailedPrecondition);
}

TEST_F(WriteSessionTest, AKnownDigestEndsTheStream) {
  const Digest digest = put("known");
  auto first = request(WriteAction::STAT, "ref");
  first.set_expected(digest.string());
  EXPECT_EQ(send(first).code(), Code::kAlreadyExists);

  restart();
  ASSERT_TRUE(send(request(WriteAction::WRITE, "ref"), "kno").ok());
  auto late = request(WriteAction::WRITE, {}, 3);
  late.set_expected(digest.string());
  EXPECT_EQ(send(late, "wn").code(), Code::kAlreadyExists);
  EXPECT_EQ(store_->status("ref").status().code(), Code::kNotFound);
}

TEST_F(WriteSessionTest, BrokenArguments) {
  auto first = request(WriteAction::STAT, "ref");
  first.set_expected("sha256:xyz");
  EXPECT_EQ(send(first).code(), Code::kInvalidArgument);
  EXPECT_EQ(store_->status("ref").status().code(), Code::kNotFound);
  first.clear_expected();
  first.set_total(-1);
  EXPECT_EQ(send(first).code(), Code::kInvalidArgument);
  restart();
  EXPECT_EQ(send(request(static_cast<WriteAction>(7), "ref")).code(), Code::kInvalidArgument);
}

TEST(WriteMessage, TakesTheDataWithoutCopyingIt) {
  WriteContentRequest full;
  full.set_action(WriteAction::COMMIT);
  full.set_ref("the ref");
  full.set_total(7);
  full.set_expected("e");
  full.set_offset(3);
  full.set_data(pattern(5000));
  (*full.mutable_labels())["k"] = "v";
  const std::string bytes = full.SerializeAsString();
  const auto message = WriteMessage::parse(bytes);
  ASSERT_TRUE(message.ok());
  EXPECT_EQ(message->data, full.data());
  EXPECT_GE(message->data.data(), bytes.data());
  EXPECT_LE(message->data.data() + message->data.size(), bytes.data() + bytes.size());
  full.clear_data();
  EXPECT_EQ(message->request.SerializeAsString(), full.SerializeAsString());
}

TEST(WriteMessage, EveryTruncationIsEitherAMessageOrAnError) {
  WriteContentRequest full;
  full.set_ref("ref");
  full.set_data("data");
  full.set_offset(1 << 20);
  const std::string bytes = full.SerializeAsString();
  for (size_t size = 0; size <= bytes.size(); ++size) {
    const std::string_view part = std::string_view(bytes).substr(0, size);
    WriteContentRequest reference;
    const bool well_formed = reference.ParseFromString(std::string(part));
    const auto message = WriteMessage::parse(part);
    EXPECT_EQ(message.ok(), well_formed) << size;
    EXPECT_EQ(message.status().code(), well_formed ? Code::kOk : Code::kInvalidArgument);
  }
  EXPECT_FALSE(WriteMessage::parse(std::string_view("\x32\xff\xff\xff\xff\x0f", 6))
                   .ok());  // length beyond 31 bits
  EXPECT_FALSE(WriteMessage::parse(std::string_view("\x00", 1)).ok());
  EXPECT_TRUE(WriteMessage::parse("").ok());
}

}  // namespace
}  // namespace berth::content
