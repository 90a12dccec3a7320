// grpc.reflection: what services there are and how their messages look, from the descriptors that
// plugins carry.
#pragma once

#include "grpc/reflection/v1/reflection.berth.h"
#include "grpc/reflection/v1alpha/reflection.berth.h"
#include "rpc/router.h"

namespace google::protobuf {
class DescriptorPool;
}

namespace berth::rpc {

/// The current version of the protocol. One question, one answer, on the handler's thread.
class Reflection final : public grpc::reflection::v1::ServerReflectionService {
 public:
  explicit Reflection(const Router& router) : router_(router) {}
  using Request = grpc::reflection::v1::ServerReflectionRequest;
  using Response = grpc::reflection::v1::ServerReflectionResponse;
  Status ServerReflectionInfo(Context& context, ServerStream<Request, Response>& stream) override;

 private:
  const Router& router_;
};

/// The version that older clients ask for; its messages are the same on the wire.
class ReflectionAlpha final : public grpc::reflection::v1alpha::ServerReflectionService {
 public:
  explicit ReflectionAlpha(const Router& router) : router_(router) {}
  using Request = grpc::reflection::v1alpha::ServerReflectionRequest;
  using Response = grpc::reflection::v1alpha::ServerReflectionResponse;
  Status ServerReflectionInfo(Context& context, ServerStream<Request, Response>& stream) override;

 private:
  const Router& router_;
};

}  // namespace berth::rpc
