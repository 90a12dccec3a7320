#include "proxy/proxies.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>

#include "proxy/remote_service.h"

namespace berth::proxy {
namespace {

/// The types that containerd's configuration knows, and what a program of that type serves.
struct Kind {
  std::string_view name, type, service;
};
constexpr std::array kKinds = {
    Kind{"snapshot", "io.containerd.snapshotter.v1", "containerd.services.snapshots.v1.Snapshots"},
    Kind{"content", "io.containerd.content.v1", "containerd.services.content.v1.Content"},
    Kind{"diff", "io.containerd.differ.v1", "containerd.services.diff.v1.Diff"},
};

Result<lifecycle::Builtin> make_proxy(const config::ProxyPlugin& proxy,
                                      const config::Values& values, const std::string& version) {
  const std::string_view name = proxy.id;
  if (!std::all_of(name.begin(), name.end(), [](unsigned char letter) {
        return std::isalnum(letter) != 0 || letter == '.' || letter == '_' || letter == '-';
      })) {
    return invalid_argument("is no name of a plugin: letters, digits, \".\", \"_\" and \"-\" are");
  }
  const Kind* kind = nullptr;
  std::string known;
  for (const Kind& one : kKinds) {
    if (one.name == proxy.type) kind = &one;
    known += (known.empty() ? "" : ", ") + std::string(one.name);
  }
  if (kind == nullptr) {
    return invalid_argument("has the type \"" + proxy.type + "\"; known are " + known);
  }
  lifecycle::Builtin made;
  made.replaces = true;
  made.proxy = proxy;
  made.plugin.type = kind->type;
  made.plugin.id = proxy.id;
  made.plugin.version = *manifest::Version::parse(version);
  made.plugin.provides = {std::string(kind->service)};
  made.plugin.capabilities = proxy.capabilities;
  if (!proxy.platform.empty()) made.plugin.platforms = {proxy.platform};
  BERTH_ASSIGN_OR_RETURN(made.target, serve_remote(made.plugin.type, made.plugin.id,
                                                   {made.plugin.uri(), proxy.address, proxy.ns,
                                                    static_cast<int>(values.max_receive_bytes),
                                                    static_cast<int>(values.max_send_bytes)},
                                                   made.plugin.provides));
  return made;
}

}  // namespace

std::vector<lifecycle::Builtin> make_proxies(const config::Config& config,
                                             const std::string& version,
                                             std::vector<config::Diagnostic>* diagnostics) {
  std::vector<lifecycle::Builtin> made;
  for (const config::ProxyPlugin& proxy : config.values().proxy_plugins) {
    if (proxy.type.empty() || proxy.address.empty()) continue;  // reported with the file
    auto one = make_proxy(proxy, config.values(), version);
    if (one.ok()) {
      made.push_back(*std::move(one));
    } else {
      diagnostics->push_back(
          {proxy.file, proxy.line, "[proxy_plugins." + proxy.id + "] " + one.status().message()});
    }
  }
  return made;
}

}  // namespace berth::proxy
