// containerd.services.namespaces.v1.Namespaces
#pragma once

#include "containerd/services/namespaces/v1/namespace.berth.h"
#include "store.h"

namespace berth::metadata {

/// Any thread. Needs no namespace header.
class Namespaces final : public containerd::services::namespaces::v1::NamespacesService {
 public:
  explicit Namespaces(Store& store) : store_(store) {}

  /// A namespace that does not exist has no labels, and is not an error, as in containerd.
  Status Get(Context& context,
             const containerd::services::namespaces::v1::GetNamespaceRequest& request,
             containerd::services::namespaces::v1::GetNamespaceResponse* response) override;
  Status List(Context& context,
              const containerd::services::namespaces::v1::ListNamespacesRequest& request,
              containerd::services::namespaces::v1::ListNamespacesResponse* response) override;
  Status Create(Context& context,
                const containerd::services::namespaces::v1::CreateNamespaceRequest& request,
                containerd::services::namespaces::v1::CreateNamespaceResponse* response) override;
  /// Makes the namespace when it does not exist: how clients set its defaults.
  Status Update(Context& context,
                const containerd::services::namespaces::v1::UpdateNamespaceRequest& request,
                containerd::services::namespaces::v1::UpdateNamespaceResponse* response) override;
  /// FAILED_PRECONDITION, telling what is in it, unless it is empty.
  Status Delete(Context& context,
                const containerd::services::namespaces::v1::DeleteNamespaceRequest& request,
                google::protobuf::Empty* response) override;

 private:
  Store& store_;
};

}  // namespace berth::metadata
