#include "plugin_source.h"

#include <filesystem>
#include <memory>
#include <vector>

#include "builtin/builtins.h"
#include "builtin/host_plugins.h"
#include "config/config.h"
#include "daemon_client.h"
#include "lifecycle/plugin_set.h"

namespace berth::ctl {
namespace {

namespace pb = berth::host::v1;

constexpr const char* kList = "berth.host.v1.Plugins/List";

Result<KnownPlugins> ask_daemon(const std::string& address) {
  KnownPlugins known;
  known.from = "the daemon at " + address;
  known.live = true;
  const std::string attempt = "ask " + known.from + " for its plugins";
  std::string bytes;
  const Status status = call(address, kList, pb::ListRequest().SerializeAsString(), {},
                             [&](const std::string& response) { bytes = response; });
  if (status.code() == Code::kUnimplemented) {
    return unimplemented(
        attempt + ": what listens there is not berthd, or an older one: " + status.message());
  }
  if (!status.ok()) {
    const std::string hint =
        status.code() == Code::kUnavailable ? "; --plugin-dir looks at files" : "";
    return Status(status.code(), attempt + ": " + status.message() + hint);
  }
  if (!known.list.ParseFromString(bytes)) {
    return data_loss(attempt + ": its answer is not a berth.host.v1.ListResponse");
  }
  return known;
}

/// A daemon's parts, of one that runs no plugin.
struct LookedAt {
  explicit LookedAt(config::Config loaded) : config(std::move(loaded)) {}
  const config::Config config;
  const abi::HostFacts facts{};
  const rpc::Router router;
  lifecycle::PluginSet plugins{config, facts};
};

/// The graph as the daemon would resolve it.
Result<KnownPlugins> look_at_files(const std::string& config_file, const std::string& plugin_dir) {
  config::Overrides overrides;
  if (!plugin_dir.empty()) overrides.plugin_dir = plugin_dir;
  BERTH_ASSIGN_OR_RETURN(config::Config loaded, config::Config::load(config_file, overrides));
  // All of it lives as long as the process, as in the daemon: the host's own services are part of
  // the graph and point to it. Reachable, so that it is no leak.
  static auto* all = new std::vector<std::unique_ptr<LookedAt>>;
  LookedAt& one = *all->emplace_back(std::make_unique<LookedAt>(std::move(loaded)));
  const config::Config& config = one.config;
  lifecycle::PluginSet& plugins = one.plugins;
  std::vector<config::Diagnostic> diagnostics = config.diagnostics();
  plugins.resolve(builtin::make_builtins(plugins, one.router, config, &diagnostics).services,
                  &diagnostics);
  KnownPlugins known;
  Context context;
  BERTH_RETURN_IF_ERROR(
      builtin::HostPluginsService(plugins).List(context, pb::ListRequest(), &known.list));
  for (const auto& wrong : diagnostics) known.list.add_problems(wrong.to_string());
  for (const std::string& directory : config.values().plugin_dirs) {
    known.from += (known.from.empty() ? "plugins of " : ", ") + directory;
    std::error_code error;
    if (config.plugin_dir_is_default() && !std::filesystem::exists(directory, error)) {
      known.list.add_problems("plugin directory " + directory +
                              " is not there: install plugins, or give another --plugin-dir");
    }
  }
  return known;
}

}  // namespace

void PluginSource::add_options(CLI::App* command) {
  auto* dir = command->add_option("--plugin-dir", plugin_dir,
                                  "look at the plugins of a directory, running none of their code");
  auto* file = command->add_option(
      "--config,-c", config, "look at the plugins that a configuration names, as berthd would");
  auto* socket =
      command->add_option("--address,-a", address,
                          "ask the daemon at this socket (default: that of the configuration)");
  socket->excludes(dir)->excludes(file);
}

Result<KnownPlugins> known_plugins(const PluginSource& source) {
  if (!source.address.empty()) return ask_daemon(source.address);
  if (!source.plugin_dir.empty() || !source.config.empty()) {
    return look_at_files(source.config, source.plugin_dir);
  }
  BERTH_ASSIGN_OR_RETURN(const std::string address, default_address());
  return ask_daemon(address);
}

}  // namespace berth::ctl
