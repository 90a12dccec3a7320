// io.containerd.grpc.v1.namespaces: the metadata's namespaces, with events about them.
#pragma once

#include "containerd/services/namespaces/v1/namespace.berth.h"
#include "notices.h"

namespace berth::services {

class Namespaces final : public containerd::services::namespaces::v1::NamespacesService {
 public:
  using Client = containerd::services::namespaces::v1::NamespacesClient;
  static constexpr std::string_view kNoBlock[] = {"Get", "List"};
  static Result<std::unique_ptr<Namespaces>> create(const Self& self);
  Namespaces(Client metadata, Notices notices)
      : metadata_(std::move(metadata)), notices_(std::move(notices)) {}

  void GetCall(ServerCall call) override { metadata_.forward(std::move(call), Client::kGet); }
  void ListCall(ServerCall call) override { metadata_.forward(std::move(call), Client::kList); }
  // The events belong to the namespace that they are about, whichever the caller names in its
  // header.
  Status Create(Context& context,
                const containerd::services::namespaces::v1::CreateNamespaceRequest& request,
                containerd::services::namespaces::v1::CreateNamespaceResponse* response) override;
  Status Update(Context& context,
                const containerd::services::namespaces::v1::UpdateNamespaceRequest& request,
                containerd::services::namespaces::v1::UpdateNamespaceResponse* response) override;
  Status Delete(Context& context,
                const containerd::services::namespaces::v1::DeleteNamespaceRequest& request,
                google::protobuf::Empty* response) override;

 private:
  Client metadata_;
  Notices notices_;
};

}  // namespace berth::services
