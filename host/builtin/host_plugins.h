// berth.host.v1.Plugins: everything the host knows of its plugins, for berthctl.
#pragma once

#include "berth/host/v1/host.berth.h"
#include "lifecycle/plugin_set.h"

namespace berth::builtin {

class HostPluginsService final : public berth::host::v1::PluginsService {
 public:
  explicit HostPluginsService(const lifecycle::PluginSet& plugins) : plugins_(plugins) {}
  Status List(Context& context, const berth::host::v1::ListRequest& request,
              berth::host::v1::ListResponse* response) override;

 private:
  const lifecycle::PluginSet& plugins_;
};

}  // namespace berth::builtin
