#include "builtin/builtins.h"

#include "builtin/host_plugins.h"
#include "builtin/introspection.h"
#include "builtin/version.h"
#include "proxy/proxies.h"
#include "rpc/builtin.h"
#include "rpc/reflection.h"

namespace berth::builtin {
namespace {

constexpr const char* kType = "io.containerd.grpc.v1";

template <typename S>
void add(Builtins* out, const std::string& id, std::unique_ptr<S> service) {
  lifecycle::Builtin builtin{};
  builtin.plugin.type = kType;
  builtin.plugin.id = id;
  builtin.plugin.version = *manifest::Version::parse(version());
  builtin.plugin.provides = {std::string(S::kServiceName)};
  builtin.plugin.client_facing = true;
  builtin.target = &rpc::serve_builtin(kType, id, std::move(service));
  out->services.push_back(std::move(builtin));
}

}  // namespace

Builtins make_builtins(const lifecycle::PluginSet& plugins, const rpc::Router& router,
                       const config::Config& config, std::vector<config::Diagnostic>* diagnostics) {
  Builtins out;
  add(&out, "version", std::make_unique<VersionService>());
  add(&out, "introspection",
      std::make_unique<IntrospectionService>(
          plugins, config.values().root + "/io.containerd.grpc.v1.introspection/uuid"));
  add(&out, "plugins", std::make_unique<HostPluginsService>(plugins));
  auto health = std::make_unique<rpc::Health>(router);
  out.health = health.get();
  add(&out, "healthcheck", std::move(health));
  add(&out, "reflection", std::make_unique<rpc::Reflection>(router));
  add(&out, "reflection-v1alpha", std::make_unique<rpc::ReflectionAlpha>(router));
  for (lifecycle::Builtin& proxy :
       proxy::make_proxies(config, std::string(version()), diagnostics)) {
    out.services.push_back(std::move(proxy));
  }
  return out;
}

}  // namespace berth::builtin
