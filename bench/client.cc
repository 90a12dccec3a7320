#include "client.h"

#include <chrono>
#include <stdexcept>

#include "containerd/services/containers/v1/containers.pb.h"

namespace berth::bench {
namespace {

namespace pb = containerd::services::containers::v1;

grpc::ByteBuffer to_buffer(const google::protobuf::MessageLite& message) {
  const grpc::Slice slice(message.SerializeAsString());
  return {&slice, 1};
}

grpc::ChannelArguments own_connection() {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL,
                   1);  // else channels to one address share a connection
  arguments.SetMaxReceiveMessageSize(64 << 20);
  return arguments;
}

}  // namespace

Client::Client(const std::string& address)
    : channel_(grpc::CreateCustomChannel("unix:" + address, grpc::InsecureChannelCredentials(),
                                         own_connection())),
      stub_(channel_) {}

grpc::ByteBuffer Client::call(const std::string& method, const grpc::ByteBuffer& request,
                              int timeout_ms) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(timeout_ms));
  context.AddMetadata("containerd-namespace", "bench");
  grpc::CompletionQueue queue;
  auto reader = stub_.PrepareUnaryCall(&context, method, request, &queue);
  reader->StartCall();
  grpc::ByteBuffer response;
  grpc::Status status;
  reader->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  if (!status.ok()) throw std::runtime_error(method + ": " + status.error_message());
  return response;
}

bool Client::answers() {
  try {
    (void)call("/containerd.services.version.v1.Version/Version",
               grpc::ByteBuffer(to_buffer(pb::ListContainersRequest())), 1000);
    return true;
  } catch (const std::runtime_error&) {
    return false;
  }
}

void Client::version() {
  (void)call("/containerd.services.version.v1.Version/Version",
             to_buffer(pb::ListContainersRequest()), 10'000);
}

size_t Client::list_containers() {
  grpc::ByteBuffer response = call("/containerd.services.containers.v1.Containers/List",
                                   to_buffer(pb::ListContainersRequest()), 30'000);
  grpc::Slice slice;
  if (!response.DumpToSingleSlice(&slice).ok()) return 0;
  pb::ListContainersResponse list;
  list.ParseFromArray(slice.begin(), static_cast<int>(slice.size()));
  return static_cast<size_t>(list.containers_size());
}

void Client::create_container(const std::string& id, size_t spec_bytes) {
  pb::CreateContainerRequest request;
  auto* container = request.mutable_container();
  container->set_id(id);
  container->mutable_runtime()->set_name("io.containerd.runc.v2");
  container->mutable_spec()->set_type_url("types.containerd.io/opencontainers/runtime-spec/1/Spec");
  container->mutable_spec()->set_value(std::string(spec_bytes, ' '));
  (void)call("/containerd.services.containers.v1.Containers/Create", to_buffer(request), 30'000);
}

}  // namespace berth::bench
