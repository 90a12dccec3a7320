// The hand-written codec against protobuf's own.
#include <berth/ttrpc/envelope.h>
#include <gtest/gtest.h>

#include "google/rpc/status.pb.h"
#include "ttrpc/ttrpc.pb.h"

namespace berth::ttrpc {
namespace {

TEST(Envelope, RequestIsWhatProtobufReads) {
  const RequestEnvelope request{"containerd.task.v2.Task",
                                "State",
                                std::string("\0\1\2", 3),
                                5'000'000'000,
                                {{"a", "1"}, {"a", "2"}, {"empty", ""}}};
  ::ttrpc::Request message;
  ASSERT_TRUE(message.ParseFromString(encode(request)));
  EXPECT_EQ(message.service(), "containerd.task.v2.Task");
  EXPECT_EQ(message.method(), "State");
  EXPECT_EQ(message.payload(), std::string("\0\1\2", 3));
  EXPECT_EQ(message.timeout_nano(), 5'000'000'000);
  ASSERT_EQ(message.metadata_size(), 3);
  EXPECT_EQ(message.metadata(1).key(), "a");
  EXPECT_EQ(message.metadata(1).value(), "2");
  EXPECT_EQ(message.metadata(2).key(), "empty");
  EXPECT_EQ(message.SerializeAsString(), encode(request));
}

TEST(Envelope, RequestIsReadAsProtobufWritesIt) {
  ::ttrpc::Request message;
  message.set_service("s");
  message.set_method("m");
  message.set_payload(std::string(70'000, 'p'));
  message.set_timeout_nano(-1);
  auto* pair = message.add_metadata();
  pair->set_key("containerd-namespace-ttrpc");
  pair->set_value("default");
  RequestEnvelope request;
  ASSERT_TRUE(decode(message.SerializeAsString(), &request).ok());
  EXPECT_EQ(request.payload.size(), 70'000u);
  EXPECT_EQ(request.timeout_ns, -1);
  EXPECT_EQ(request.metadata, (Metadata{{"containerd-namespace-ttrpc", "default"}}));
}

TEST(Envelope, FailedResponseTravelsBothWays) {
  ::ttrpc::Response message;
  ASSERT_TRUE(message.ParseFromString(encode(ResponseEnvelope{not_found("no such task"), {}})));
  EXPECT_EQ(message.status().code(), 5);
  EXPECT_EQ(message.status().message(), "no such task");
  ResponseEnvelope response;
  ASSERT_TRUE(decode(message.SerializeAsString(), &response).ok());
  EXPECT_EQ(response.status.code(), Code::kNotFound);
  EXPECT_EQ(response.status.message(), "no such task");
  EXPECT_EQ(response.status.details(), "");
}

TEST(Envelope, DetailsOfAStatusAreKept) {
  ::ttrpc::Response message;
  message.mutable_status()->set_code(9);
  message.mutable_status()->set_message("m");
  message.mutable_status()->add_details()->set_type_url("example.org/Detail");
  ResponseEnvelope response;
  ASSERT_TRUE(decode(message.SerializeAsString(), &response).ok());
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(response.status.details()));
  EXPECT_EQ(details.details(0).type_url(), "example.org/Detail");
  EXPECT_EQ(encode(response), message.SerializeAsString());
}

TEST(Envelope, EmptySuccessIsNoBytes) {
  EXPECT_EQ(encode(ResponseEnvelope{}), "");
  ResponseEnvelope response;
  ASSERT_TRUE(decode("", &response).ok());
  EXPECT_TRUE(response.status.ok());
}

TEST(Envelope, MalformedBytesAreRefused) {
  RequestEnvelope request;
  EXPECT_EQ(decode("\x0a\x05xy", &request).code(), Code::kInvalidArgument);        // too short
  EXPECT_EQ(decode("\xff\xff\xff", &request).code(), Code::kInvalidArgument);      // endless varint
  EXPECT_EQ(decode("\x2a\x02\x0a\x05", &request).code(), Code::kInvalidArgument);  // inner message
  ResponseEnvelope response;
  EXPECT_EQ(decode("\x0a\x03\x12\x09x", &response).code(), Code::kInvalidArgument);
}

TEST(Envelope, UnknownFieldsAreSkipped) {
  ::ttrpc::Request message;
  message.set_service("s");
  std::string bytes = message.SerializeAsString();
  bytes += std::string("\x98\x06\x01\xa2\x06\x01z\xad\x06\0\0\0\0",
                       13);  // 99 varint, 100 bytes, 101 fixed32
  RequestEnvelope request;
  ASSERT_TRUE(decode(bytes, &request).ok());
  EXPECT_EQ(request.service, "s");
}

}  // namespace
}  // namespace berth::ttrpc
