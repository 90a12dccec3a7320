// A client of the daemon under test, which is killed again and again.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/client_unary_call.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/support/sync_stream.h>

#include <chrono>
#include <memory>
#include <string>

#include "containerd/types/event.pb.h"

namespace berth::crash {

using std::chrono::milliseconds;

template <typename Response>
struct Answer {
  grpc::Status status;
  Response value;
  bool ok() const { return status.ok(); }
  grpc::StatusCode code() const { return status.error_code(); }
};

/// One connection, which is made again by itself. Any thread.
class Client {
 public:
  Client(const std::string& address, std::string space);

  const std::string& space() const { return space_; }

  /// `method` is "package.Service/Method".
  template <typename Response, typename Request>
  Answer<Response> call(const std::string& method, const Request& request,
                        milliseconds timeout = std::chrono::seconds(30)) const {
    grpc::ClientContext context;
    prepare(&context, timeout);
    Answer<Response> answer;
    const std::string path = "/" + method;
    answer.status = grpc::internal::BlockingUnaryCall(
        channel_.get(),
        grpc::internal::RpcMethod(path.c_str(), grpc::internal::RpcMethod::NORMAL_RPC), &context,
        request, &answer.value);
    return answer;
  }

  using EventReader = grpc::ClientReader<containerd::types::Envelope>;
  /// All events of the namespace, until the daemon ends or `context` is cancelled.
  std::unique_ptr<EventReader> subscribe(grpc::ClientContext* context) const;

 private:
  void prepare(grpc::ClientContext* context, milliseconds timeout) const;

  const std::string space_;
  const std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace berth::crash
