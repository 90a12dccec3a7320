#include "rpc_client.h"

#include <berth/context.h>
#include <berth/ttrpc/client.h>
#include <berth/ttrpc/loop.h>

namespace berth::testing {
namespace {

grpc::ByteBuffer buffer_of(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

std::string text_of(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  (void)buffer.Dump(&slices);
  std::string text;
  for (const grpc::Slice& slice : slices) {
    text.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return text;
}

/// True when the operation that was just begun succeeded.
bool done(grpc::CompletionQueue& queue) {
  void* tag = nullptr;
  bool ok = false;
  return queue.Next(&tag, &ok) && ok;
}

}  // namespace

RpcClient::RpcClient(const std::string& address)
    : stub_(grpc::CreateChannel("unix://" + address, grpc::InsecureChannelCredentials())) {}

grpc::Status RpcClient::call(const std::string& method, const std::string& request,
                             std::vector<std::string>* responses, const Headers& headers) {
  return call(method, std::vector<std::string>{request}, responses, headers);
}

grpc::Status RpcClient::call(const std::string& method, const std::vector<std::string>& requests,
                             std::vector<std::string>* responses, const Headers& headers) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  for (const auto& [key, value] : headers) context.AddMetadata(key, value);
  grpc::CompletionQueue queue;
  auto stream = stub_.PrepareCall(&context, method, &queue);
  stream->StartCall(nullptr);
  bool good = done(queue);
  for (size_t i = 0; good && i < requests.size(); ++i) {
    stream->Write(buffer_of(requests[i]), nullptr);
    good = done(queue);
  }
  if (good) {
    stream->WritesDone(nullptr);
    good = done(queue);
  }
  while (good) {
    grpc::ByteBuffer message;
    stream->Read(&message, nullptr);
    good = done(queue);
    if (good) responses->push_back(text_of(message));
  }
  grpc::Status status;
  stream->Finish(&status, nullptr);
  (void)done(queue);
  queue.Shutdown();
  return status;
}

Status ttrpc_call(const std::string& address, const std::string& service, const std::string& method,
                  const std::string& request, std::string* response, const Headers& headers) {
  BERTH_ASSIGN_OR_RETURN(const std::shared_ptr<ttrpc::Loop> loop, ttrpc::Loop::start());
  BERTH_ASSIGN_OR_RETURN(const std::shared_ptr<ttrpc::Client> client,
                         ttrpc::Client::connect(loop, address));
  ttrpc::CallOptions options;
  options.deadline_ns = monotonic_now() + 30'000'000'000;
  for (const auto& [key, value] : headers) options.metadata.push_back({key, value});
  return client->call(service, method, request, options, response);
}

}  // namespace berth::testing
