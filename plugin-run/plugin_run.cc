#include "plugin_run.h"

#include <berth/context.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <filesystem>

#include "abi/file_safety.h"
#include "abi/instance.h"
#include "abi/library.h"
#include "builtin/version.h"
#include "bus/current_plugin.h"
#include "manifest/manifest.h"
#include "ops/lock_file.h"
#include "ops/logging.h"
#include "ops/sd_notify.h"
#include "rpc/builtin.h"
#include "rpc/grpc_door.h"
#include "rpc/health.h"

namespace berth::plugin_run {
namespace {

constexpr int64_t kStopNanoseconds = 10'000'000'000;

Result<const manifest::Plugin*> choose(const manifest::Manifest& manifest, const std::string& uri) {
  std::string known;
  for (const manifest::Plugin& plugin : manifest.plugins) {
    if (plugin.uri() == uri || (uri.empty() && manifest.plugins.size() == 1)) return &plugin;
    known += (known.empty() ? "" : ", ") + plugin.uri();
  }
  return invalid_argument(
      "run a plugin of " + manifest.file + ": " +
      (uri.empty() ? "name one of them with --plugin: " : uri + " is none of them: ") + known);
}

/// Nobody else is here.
Status check_stands_alone(const manifest::Plugin& plugin) {
  for (const manifest::Requirement& need : plugin.requires_) {
    if (need.cardinality != manifest::Cardinality::kOne || need.order_only) continue;
    return failed_precondition("run " + plugin.uri() + " by itself: it requires \"" + need.name +
                               "\", a plugin of type " + need.type +
                               ", and there is none here; run it in berthd");
  }
  return {};
}

Status begin(abi::Instance* instance, const std::string& uri) {
  using Step = abi::Instance::Step (abi::Instance::*)();
  const std::pair<std::string_view, Step> steps[] = {{"probe", &abi::Instance::probe},
                                                     {"init", &abi::Instance::init},
                                                     {"start", &abi::Instance::start}};
  for (const auto& [name, step] : steps) {
    const bus::CurrentPlugin current(uri, name);
    const abi::Instance::Step result = (instance->*step)();
    if (result.outcome != abi::Instance::Outcome::kOk) {
      return result.status.with_context("run " + uri + ": its " + std::string(name) +
                                        (result.outcome == abi::Instance::Outcome::kSkip
                                             ? " says that this machine lacks what it needs"
                                             : " failed"));
    }
  }
  instance->ready();
  return {};
}

}  // namespace

Status run(const Options& options) {
  sigset_t signals;
  ::sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT}) ::sigaddset(&signals, signal);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);

  BERTH_ASSIGN_OR_RETURN(config::Config loaded,
                         config::Config::load(options.config_file, options.overrides));
  const auto& config = *new config::Config(std::move(loaded));  // plugins live for ever
  const config::Values& values = config.values();
  BERTH_RETURN_IF_ERROR(ops::configure_log(values.log_level, values.log_format));
  BERTH_ASSIGN_OR_RETURN(const manifest::Manifest manifest, manifest::read_manifest(options.file));
  BERTH_ASSIGN_OR_RETURN(const manifest::Plugin* const plugin, choose(manifest, options.uri));
  BERTH_RETURN_IF_ERROR(check_stands_alone(*plugin));
  BERTH_RETURN_IF_ERROR(abi::check_plugin_file(options.file));
  BERTH_RETURN_IF_ERROR(abi::check_abi(options.file, manifest.abi_major, manifest.abi_minor));

  std::vector<config::Diagnostic> diagnostics = config.diagnostics();
  abi::InstanceSettings settings;
  settings.type = plugin->type;
  settings.id = plugin->id;
  settings.config_json = config.plugin_json(*plugin, &diagnostics);
  for (const std::string& one : plugin->capabilities) {
    settings.capabilities += (settings.capabilities.empty() ? "" : ",") + one;
  }
  for (const config::Diagnostic& one : diagnostics) spdlog::warn("{}", one.to_string());

  std::error_code error;
  for (const std::string& folder : {values.root, values.state}) {
    std::filesystem::create_directories(folder, error);
    if (error) return errno_status(error.value(), "make the directory " + folder);
  }
  // Several plugins may have folders below one root, each but once, and none beside a daemon's.
  BERTH_ASSIGN_OR_RETURN(const UniqueFd root_lock,
                         ops::lock_file(values.root + "/berthd.lock", ops::LockKind::kShared,
                                        "a berthd uses this root; choose another --root"));
  BERTH_ASSIGN_OR_RETURN(
      const UniqueFd plugin_lock,
      ops::lock_file(values.root + "/" + plugin->uri() + ".lock", ops::LockKind::kAlone,
                     "another berth-plugin-run has the plugin on this root; stop it or choose "
                     "another --root"));
  std::vector<abi::DeclaredPlugin> declared;
  for (const manifest::Plugin& one : manifest.plugins)
    declared.push_back({one.type, one.id, one.provides});
  BERTH_ASSIGN_OR_RETURN(const abi::Library library, abi::Library::load(options.file, declared));
  const auto& facts = *new abi::HostFacts{values.root, values.state, options.listen, "",
                                          std::string(builtin::version())};
  auto* const instance =
      new abi::Instance(*library.find(plugin->type, plugin->id), std::move(settings), facts);
  BERTH_RETURN_IF_ERROR(begin(instance, plugin->uri()));

  auto& router = *new rpc::Router;
  auto health = std::make_unique<rpc::Health>(router);
  rpc::Health& serving = *health;
  router.add(rpc::serve_builtin("io.containerd.grpc.v1", "healthcheck", std::move(health)));
  router.add(instance->target());
  router.complete();
  BERTH_ASSIGN_OR_RETURN(const std::unique_ptr<rpc::GrpcDoor> door,
                         rpc::GrpcDoor::open({options.listen, ::geteuid(), options.gid,
                                              values.max_receive_bytes, values.max_send_bytes},
                                             router));
  serving.set_serving(true);
  ops::sd_notify("READY=1\nSTATUS=" + plugin->uri() + " on " + options.listen);
  spdlog::info("{} of {} serves on {}", plugin->uri(), options.file, options.listen);

  int signal = 0;
  ::sigwait(&signals, &signal);
  ops::sd_notify("STOPPING=1");
  spdlog::info("{} stops", plugin->uri());
  serving.set_serving(false);
  instance->stop(monotonic_now() + kStopNanoseconds);
  door->close(monotonic_now() + 500'000'000);
  return {};
}

}  // namespace berth::plugin_run
