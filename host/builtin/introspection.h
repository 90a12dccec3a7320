// containerd.services.introspection.v1.Introspection: what `ctr plugins ls` and dockerd ask.
#pragma once

#include <functional>

#include "containerd/services/introspection/v1/introspection.berth.h"
#include "lifecycle/plugin_set.h"

namespace berth::builtin {

class IntrospectionService final
    : public containerd::services::introspection::v1::IntrospectionService {
 public:
  using PluginsRequest = containerd::services::introspection::v1::PluginsRequest;
  using PluginsResponse = containerd::services::introspection::v1::PluginsResponse;
  using ServerResponse = containerd::services::introspection::v1::ServerResponse;
  using PluginInfoRequest = containerd::services::introspection::v1::PluginInfoRequest;
  using PluginInfoResponse = containerd::services::introspection::v1::PluginInfoResponse;

  /// `uuid_file`: where the daemon's identity is kept across restarts.
  IntrospectionService(const lifecycle::PluginSet& plugins, std::string uuid_file)
      : plugins_(plugins), uuid_file_(std::move(uuid_file)) {}

  Status Plugins(Context& context, const PluginsRequest& request,
                 PluginsResponse* response) override;
  Status Server(Context& context, const google::protobuf::Empty& request,
                ServerResponse* response) override;
  /// Asks the plugin itself (berth.plugin.v1.Info) where it has more to say than its manifest.
  Status PluginInfo(Context& context, const PluginInfoRequest& request,
                    PluginInfoResponse* response) override;

 private:
  Result<std::string> uuid();

  const lifecycle::PluginSet& plugins_;
  const std::string uuid_file_;
  std::mutex mutex_;
  std::string uuid_;  // guarded by mutex_
};

}  // namespace berth::builtin
