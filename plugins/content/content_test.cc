#include "content.h"

#include "testing.h"

namespace berth::content {
namespace {

class ContentServiceTest : public StoreTest {
 protected:
  ContentServiceTest() {
    digest_ = put("contents").string();
    begin("ingest-1")->write("half").ok();
    begin("other")->write("x").ok();
    service_ = std::make_unique<ContentService>(std::move(store_));
  }
  std::string digest_;
  std::unique_ptr<ContentService> service_;
  Context context_;
};

TEST_F(ContentServiceTest, Info) {
  api::InfoRequest request;
  request.set_digest(digest_);
  api::InfoResponse response;
  ASSERT_TRUE(service_->Info(context_, request, &response).ok());
  EXPECT_EQ(response.info().digest(), digest_);
  EXPECT_EQ(response.info().size(), 8);
  EXPECT_GT(response.info().created_at().seconds(), 0);
  EXPECT_GT(response.info().updated_at().seconds(), 0);
  request.set_digest("../../etc/passwd");
  EXPECT_EQ(service_->Info(context_, request, &response).code(), Code::kInvalidArgument);
  request.set_digest(digest_of("unknown").string());
  EXPECT_EQ(service_->Info(context_, request, &response).code(), Code::kNotFound);
}

TEST_F(ContentServiceTest, UpdateIsNotThisStores) {
  api::UpdateRequest request;
  request.mutable_info()->set_digest(digest_);
  api::UpdateResponse response;
  EXPECT_EQ(service_->Update(context_, request, &response).code(), Code::kFailedPrecondition);
  request.mutable_info()->set_digest("x");
  EXPECT_EQ(service_->Update(context_, request, &response).code(), Code::kInvalidArgument);
}

TEST_F(ContentServiceTest, Delete) {
  api::DeleteContentRequest request;
  google::protobuf::Empty response;
  request.set_digest("sha256:..");
  EXPECT_EQ(service_->Delete(context_, request, &response).code(), Code::kInvalidArgument);
  request.set_digest(digest_);
  EXPECT_TRUE(service_->Delete(context_, request, &response).ok());
  EXPECT_EQ(service_->Delete(context_, request, &response).code(), Code::kNotFound);
}

TEST_F(ContentServiceTest, StatusAndAbort) {
  api::StatusRequest request;
  request.set_ref("ingest-1");
  api::StatusResponse response;
  ASSERT_TRUE(service_->Status(context_, request, &response).ok());
  EXPECT_EQ(response.status().ref(), "ingest-1");
  EXPECT_EQ(response.status().offset(), 4);
  api::AbortRequest abort;
  abort.set_ref("ingest-1");
  google::protobuf::Empty nothing;
  ASSERT_TRUE(service_->Abort(context_, abort, &nothing).ok());
  EXPECT_EQ(service_->Status(context_, request, &response).code(), Code::kNotFound);
  EXPECT_EQ(service_->Abort(context_, abort, &nothing).code(), Code::kNotFound);
}

TEST_F(ContentServiceTest, ListStatusesFiltersByRef) {
  api::ListStatusesRequest request;
  api::ListStatusesResponse response;
  ASSERT_TRUE(service_->ListStatuses(context_, request, &response).ok());
  EXPECT_EQ(response.statuses_size(), 2);
  request.add_filters("ref~=^ingest-");
  response.Clear();
  ASSERT_TRUE(service_->ListStatuses(context_, request, &response).ok());
  ASSERT_EQ(response.statuses_size(), 1);
  EXPECT_EQ(response.statuses(0).ref(), "ingest-1");
  request.add_filters("ref=");
  EXPECT_EQ(service_->ListStatuses(context_, request, &response).code(), Code::kInvalidArgument);
}

struct RangeCase {
  int64_t offset, size, begin, end;
};

TEST(ReadRange, CutsToTheBlob) {
  for (const RangeCase& c :
       {RangeCase{0, 0, 0, 100}, RangeCase{0, 10, 0, 10}, RangeCase{90, 20, 90, 100},
        RangeCase{100, 0, 100, 100}, RangeCase{100, 5, 100, 100}, RangeCase{-5, 0, 0, 100},
        RangeCase{50, -1, 50, 100}, RangeCase{1, INT64_MAX, 1, 100}}) {
    api::ReadContentRequest request;
    request.set_offset(c.offset);
    request.set_size(c.size);
    const auto range = ReadRange::of(request, 100);
    ASSERT_TRUE(range.ok());
    EXPECT_EQ(range->begin, c.begin);
    EXPECT_EQ(range->end, c.end);
  }
  api::ReadContentRequest request;
  request.set_offset(101);
  EXPECT_EQ(ReadRange::of(request, 100).status().code(), Code::kOutOfRange);
}

}  // namespace
}  // namespace berth::content
