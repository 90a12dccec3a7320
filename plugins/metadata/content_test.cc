#include "content.h"

#include "fixture.h"

namespace berth::metadata {
namespace {

using namespace containerd::services::content::v1;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ContentTest : public MetadataTest {
 protected:
  struct Session {
    Session(ContentTest& test, const std::string& ns, SharingPolicy policy = SharingPolicy::kShared)
        : context(in(ns)),
          session(*test.store_, test.blobs_, test.in_flight_, policy, context, ns) {}
    berth::Status send(WriteAction action, const std::string& data, int64_t offset,
                       const std::string& expected = {}, int64_t total = 0,
                       const std::string& ref = "r") {
      WriteRequest request;
      request.head.set_action(action);
      request.head.set_ref(ref);
      request.head.set_offset(offset);
      request.head.set_expected(expected);
      request.head.set_total(total);
      request.data = data;
      return session.handle(request, &response);
    }
    Context context;
    WriteSession session;
    WriteContentResponse response;
  };
};

TEST_F(ContentTest, WritesInStepsAndCommits) {
  Session session(*this, "default");
  ASSERT_TRUE(session.send(STAT, "", 0, digest("hello"), 5).ok());
  EXPECT_EQ(session.response.offset(), 0);
  EXPECT_EQ(session.response.total(), 5);
  ASSERT_TRUE(session.send(WRITE, "hel", 0).ok());
  EXPECT_EQ(session.response.offset(), 3);
  EXPECT_EQ(session.send(WRITE, "x", 1).code(), Code::kOutOfRange);
  Session second(*this, "default");
  ASSERT_TRUE(second.send(STAT, "", 0).ok());  // resumes
  EXPECT_EQ(second.response.offset(), 3);
  ASSERT_TRUE(second.send(WRITE, "lo", 3).ok());
  ASSERT_TRUE(second.send(COMMIT, "", 5, digest("hello"), 5).ok());
  EXPECT_EQ(second.response.digest(), digest("hello"));
  ASSERT_TRUE(second.session.committed().has_value());
  EXPECT_EQ(second.session.committed()->size, 5);
  EXPECT_TRUE(has_content("default", digest("hello")));
  EXPECT_FALSE(has_content("other", digest("hello")));
}

TEST_F(ContentTest, WrongSizeAndDigestAreRefusedAndTheIngestStays) {
  Session size(*this, "default");
  ASSERT_TRUE(size.send(WRITE, "hello", 0).ok());
  EXPECT_EQ(size.send(COMMIT, "", 5, "", 6).code(), Code::kFailedPrecondition);
  Session wrong(*this, "default");
  ASSERT_TRUE(wrong.send(STAT, "", 0).ok());
  EXPECT_EQ(wrong.send(COMMIT, "", 5, digest("other")).code(), Code::kFailedPrecondition);
  EXPECT_THAT(blobs_.blobs, IsEmpty());
  EXPECT_EQ(blobs_.ingests.size(), 1U);
}

TEST_F(ContentTest, WhatTheNamespaceHasAlreadyExists) {
  ASSERT_TRUE(write_blob(in("default"), "x").ok());
  Session early(*this, "default");
  EXPECT_EQ(early.send(STAT, "", 0, digest("x")).code(), Code::kAlreadyExists);
  Session late(*this, "default");
  ASSERT_TRUE(late.send(WRITE, "x", 0).ok());
  EXPECT_EQ(late.send(COMMIT, "", 1, digest("x")).code(), Code::kAlreadyExists);
  EXPECT_THAT(blobs_.ingests, IsEmpty());  // of no more use
  EXPECT_EQ(write_blob(in("default"), "x").code(), Code::kAlreadyExists);
}

TEST_F(ContentTest, SharesABlobOfAnotherNamespaceWithoutBytes) {
  ASSERT_TRUE(write_blob(in("first"), "bytes").ok());
  Session session(*this, "second");
  ASSERT_TRUE(session.send(STAT, "", 0, digest("bytes"), 5).ok());
  EXPECT_EQ(session.response.offset(), 5);  // nothing left to send
  EXPECT_FALSE(has_content("second", digest("bytes")));
  EXPECT_EQ(session.send(WRITE, "more", 5).code(), Code::kFailedPrecondition);
  ASSERT_TRUE(session.send(COMMIT, "", 5, digest("bytes"), 5).ok());
  EXPECT_TRUE(has_content("second", digest("bytes")));
}

TEST_F(ContentTest, ASharedIngestKeepsTheBlob) {
  ASSERT_TRUE(write_blob(in("first"), "bytes").ok());
  Session session(*this, "second");
  ASSERT_TRUE(session.send(STAT, "", 0, digest("bytes"), 5).ok());
  collect();  // the first namespace's row is garbage
  EXPECT_FALSE(has_content("first", digest("bytes")));
  ASSERT_TRUE(session.send(COMMIT, "", 5, digest("bytes"), 5).ok());
  EXPECT_TRUE(blobs_.blobs.contains(digest("bytes")));
}

TEST_F(ContentTest, StartingOverWithASharedBlobBringsTheBytes) {
  ASSERT_TRUE(write_blob(in("first"), "bytes").ok());
  Session session(*this, "second");
  ASSERT_TRUE(session.send(STAT, "", 0, digest("bytes"), 5).ok());
  ASSERT_TRUE(session.send(WRITE, "bytes", 0).ok());
  EXPECT_EQ(session.response.offset(), 5);
  ASSERT_TRUE(session.send(COMMIT, "", 5, digest("bytes"), 5).ok());
  EXPECT_TRUE(has_content("second", digest("bytes")));
}

TEST_F(ContentTest, IsolatedNamespacesMustBringTheBytes) {
  ASSERT_TRUE(write_blob(in("first"), "bytes").ok());
  Session cheat(*this, "second", SharingPolicy::kIsolated);
  ASSERT_TRUE(cheat.send(STAT, "", 0, digest("bytes"), 5).ok());
  EXPECT_EQ(cheat.response.offset(), 0);
  ASSERT_TRUE(cheat.send(WRITE, "guess", 0).ok());
  EXPECT_EQ(cheat.send(COMMIT, "", 5, digest("bytes"), 5).code(), Code::kFailedPrecondition);
  EXPECT_FALSE(has_content("second", digest("bytes")));
  Session honest(*this, "second", SharingPolicy::kIsolated);
  ASSERT_TRUE(honest.send(WRITE, "bytes", 0).ok());
  ASSERT_TRUE(honest.send(COMMIT, "", 5, digest("bytes"), 5).ok());
  EXPECT_TRUE(has_content("second", digest("bytes")));
}

TEST_F(ContentTest, AShareableNamespaceSharesInIsolation) {
  ASSERT_TRUE(write_blob(in("first"), "bytes").ok());
  containerd::services::namespaces::v1::UpdateNamespaceRequest request;
  request.mutable_namespace_()->set_name("first");
  (*request.mutable_namespace_()->mutable_labels())["containerd.io/namespace.shareable"] = "true";
  containerd::services::namespaces::v1::UpdateNamespaceResponse response;
  Context context;
  ASSERT_TRUE(namespaces_->Update(context, request, &response).ok());
  Session session(*this, "second", SharingPolicy::kIsolated);
  ASSERT_TRUE(session.send(STAT, "", 0, digest("bytes"), 5).ok());
  EXPECT_EQ(session.response.offset(), 5);
}

TEST_F(ContentTest, LabelsComeWithTheCommitAndChangeByMask) {
  Labels labels;
  labels["a"] = "1";
  labels["b"] = "2";
  ASSERT_TRUE(write_blob(in("default"), "x", labels).ok());
  Context context = in("default");
  UpdateRequest update;
  update.mutable_info()->set_digest(digest("x"));
  (*update.mutable_info()->mutable_labels())["a"] = "3";
  update.mutable_update_mask()->add_paths("labels.a");
  UpdateResponse updated;
  ASSERT_TRUE(content_->Update(context, update, &updated).ok());
  EXPECT_EQ(updated.info().labels().at("a"), "3");
  EXPECT_EQ(updated.info().labels().at("b"), "2");
  update.clear_update_mask();
  ASSERT_TRUE(content_->Update(context, update, &updated).ok());
  EXPECT_EQ(updated.info().labels().size(), 1U);
  update.mutable_update_mask()->add_paths("size");
  EXPECT_EQ(content_->Update(context, update, &updated).code(), Code::kInvalidArgument);
  InfoRequest request;
  request.set_digest(digest("x"));
  InfoResponse info;
  ASSERT_TRUE(content_->Info(context, request, &info).ok());
  EXPECT_EQ(info.info().size(), 1);
  EXPECT_EQ(info.info().labels().at("a"), "3");
  request.set_digest(digest("none"));
  EXPECT_EQ(content_->Info(context, request, &info).code(), Code::kNotFound);
}

TEST_F(ContentTest, ListsByFilter) {
  Labels labels;
  labels["containerd.io/distribution.source.docker.io"] = "library/x";
  ASSERT_TRUE(write_blob(in("default"), "x", labels).ok());
  ASSERT_TRUE(write_blob(in("default"), "yy").ok());
  const auto list = [&](const std::string& filter) {
    ListContentRequest request;
    if (!filter.empty()) request.add_filters(filter);
    std::vector<std::string> digests;
    EXPECT_TRUE(content_
                    ->walk(in("default"), request,
                           [&](Content::Info_&& info) {
                             digests.push_back(info.digest());
                             return berth::Status();
                           })
                    .ok());
    return digests;
  };
  EXPECT_EQ(list("").size(), 2U);
  EXPECT_THAT(list("labels.\"containerd.io/distribution.source.docker.io\"==library/x"),
              ElementsAre(digest("x")));
  EXPECT_THAT(list("size==2"), ElementsAre(digest("yy")));
}

TEST_F(ContentTest, StatusAndAbortOfIngests) {
  {
    Session session(*this, "default");
    ASSERT_TRUE(session.send(WRITE, "abc", 0).ok());
    Session other(*this, "other");
    ASSERT_TRUE(other.send(WRITE, "abcd", 0).ok());
  }
  EXPECT_EQ(blobs_.ingests.size(), 2U);  // one ref, two namespaces
  Context context = in("default");
  StatusRequest request;
  request.set_ref("r");
  StatusResponse response;
  ASSERT_TRUE(content_->Status(context, request, &response).ok());
  EXPECT_EQ(response.status().ref(), "r");
  EXPECT_EQ(response.status().offset(), 3);
  ListStatusesRequest list;
  list.add_filters("ref~=^r$");
  ListStatusesResponse statuses;
  ASSERT_TRUE(content_->ListStatuses(context, list, &statuses).ok());
  EXPECT_EQ(statuses.statuses_size(), 1);
  AbortRequest abort;
  abort.set_ref("r");
  google::protobuf::Empty empty;
  ASSERT_TRUE(content_->Abort(context, abort, &empty).ok());
  EXPECT_EQ(content_->Abort(context, abort, &empty).code(), Code::kNotFound);
  EXPECT_EQ(content_->Status(context, request, &response).code(), Code::kNotFound);
  EXPECT_EQ(blobs_.ingests.size(), 1U);
}

TEST_F(ContentTest, TheFirstMessageNeedsARef) {
  Session session(*this, "default");
  EXPECT_EQ(session.send(STAT, "", 0, "", 0, "").code(), Code::kInvalidArgument);
}

TEST(WriteRequestTest, LeavesTheDataWhereItIs) {
  WriteContentRequest request;
  request.set_ref("r");
  request.set_offset(7);
  request.set_data("data");
  (*request.mutable_labels())["k"] = "v";
  const std::string bytes = request.SerializeAsString();
  const auto parsed = WriteRequest::parse(bytes);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->data, "data");
  EXPECT_GE(parsed->data.data(), bytes.data());
  EXPECT_LT(parsed->data.data(), bytes.data() + bytes.size());
  EXPECT_EQ(parsed->head.offset(), 7);
  EXPECT_EQ(parsed->head.labels().at("k"), "v");
  EXPECT_TRUE(parsed->head.data().empty());
  for (size_t cut = 1; cut < bytes.size(); ++cut) {
    (void)WriteRequest::parse(std::string_view(bytes).substr(0, cut));  // no overrun
  }
  EXPECT_FALSE(WriteRequest::parse("\x32\x7f"
                                   "x")
                   .ok());
}

}  // namespace
}  // namespace berth::metadata
