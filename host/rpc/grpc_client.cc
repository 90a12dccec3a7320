#include "rpc/grpc_client.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

namespace berth::rpc {
namespace {

grpc::ByteBuffer buffer_of(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

std::string bytes_of(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string bytes;
  if (!buffer.Dump(&slices).ok()) return bytes;
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes;
}

std::shared_ptr<grpc::Channel> connect(const std::string& path) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  return grpc::CreateCustomChannel("unix:" + path, grpc::InsecureChannelCredentials(), arguments);
}

/// True when the operation that was just begun succeeded.
bool done(grpc::CompletionQueue& queue) {
  void* tag = nullptr;
  bool ok = false;
  return queue.Next(&tag, &ok) && ok;
}

}  // namespace

struct GrpcClient::Connection {
  grpc::GenericStub stub;
};

GrpcClient::GrpcClient(const std::string& path)
    : connection_(new Connection{grpc::GenericStub(connect(path))}) {}
GrpcClient::~GrpcClient() = default;

Status GrpcClient::call(std::string_view method, const std::vector<std::string>& requests,
                        const GrpcCallOptions& options, const OnResponse& on_response) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + options.timeout);
  for (const auto& [key, value] : options.headers) context.AddMetadata(key, value);
  grpc::CompletionQueue queue;
  const std::string path = (method.starts_with('/') ? "" : "/") + std::string(method);
  const auto stream = connection_->stub.PrepareCall(&context, path, &queue);
  stream->StartCall(nullptr);
  bool alive = done(queue);
  for (size_t i = 0; alive && i < requests.size(); ++i) {
    stream->Write(buffer_of(requests[i]), nullptr);
    alive = done(queue);
  }
  if (alive) {
    stream->WritesDone(nullptr);
    (void)done(queue);
  }
  // Also after a write that failed: the daemon may have answered before it had everything.
  while (true) {
    grpc::ByteBuffer message;
    stream->Read(&message, nullptr);
    if (!done(queue)) break;
    on_response(bytes_of(message));
  }
  grpc::Status status;
  stream->Finish(&status, nullptr);
  (void)done(queue);
  queue.Shutdown();
  if (status.ok()) return {};
  return {static_cast<Code>(status.error_code()), status.error_message(), status.error_details()};
}

}  // namespace berth::rpc
