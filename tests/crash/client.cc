#include "client.h"

#include "containerd/services/events/v1/events.pb.h"

namespace berth::crash {
namespace {

grpc::ChannelArguments impatient() {
  grpc::ChannelArguments arguments;
  // Channels to one address would share a connection and its patience.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 20);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 20);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 50);
  return arguments;
}

}  // namespace

Client::Client(const std::string& address, std::string space)
    : space_(std::move(space)),
      channel_(grpc::CreateCustomChannel("unix:" + address, grpc::InsecureChannelCredentials(),
                                         impatient())) {}

void Client::prepare(grpc::ClientContext* context, milliseconds timeout) const {
  context->set_deadline(std::chrono::system_clock::now() + timeout);
  context->AddMetadata("containerd-namespace", space_);
}

std::unique_ptr<Client::EventReader> Client::subscribe(grpc::ClientContext* context) const {
  context->AddMetadata("containerd-namespace", space_);
  containerd::services::events::v1::SubscribeRequest request;
  request.add_filters("namespace==" + space_);
  return std::unique_ptr<EventReader>(
      grpc::internal::ClientReaderFactory<containerd::types::Envelope>::Create(
          channel_.get(),
          grpc::internal::RpcMethod("/containerd.services.events.v1.Events/Subscribe",
                                    grpc::internal::RpcMethod::SERVER_STREAMING),
          context, request));
}

}  // namespace berth::crash
