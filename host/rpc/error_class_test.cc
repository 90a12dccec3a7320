#include "rpc/error_class.h"

#include <gtest/gtest.h>

namespace berth::rpc {
namespace {

TEST(ErrorClass, EndsTheMessage) {
  EXPECT_EQ(with_class(not_found("image \"x\"")).message(), "image \"x\": not found");
  EXPECT_EQ(with_class(invalid_argument("filter \"=\": expected a field")).message(),
            "filter \"=\": expected a field: invalid argument");
  EXPECT_EQ(with_class(unimplemented("")).message(), "not implemented");
}

TEST(ErrorClass, OfWordsThatOnlyLookLikeItIsAdded) {
  EXPECT_EQ(with_class(not_found("it was not found")).message(), "it was not found: not found");
  EXPECT_EQ(with_class(not_found("x: already exists")).message(), "x: already exists: not found");
}

TEST(ErrorClass, IsNotRepeated) {
  EXPECT_EQ(with_class(already_exists("snapshot x: already exists")).message(),
            "snapshot x: already exists");
  EXPECT_EQ(with_class(not_found("not found")).message(), "not found");
}

TEST(ErrorClass, KeepsCodeAndDetails) {
  const Status status = with_class(Status(Code::kUnavailable, "ref a locked", "details"));
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_EQ(status.details(), "details");
  EXPECT_EQ(status.message(), "ref a locked: unavailable");
}

TEST(ErrorClass, LeavesAloneWhatHasNone) {
  EXPECT_TRUE(with_class(Status()).ok());
  EXPECT_EQ(with_class(unknown_error("runc did not terminate successfully")).message(),
            "runc did not terminate successfully");
  EXPECT_EQ(with_class(internal_error("plugin x: threw")).message(), "plugin x: threw");
}

}  // namespace
}  // namespace berth::rpc
