#include "daemon.h"

#include <fcntl.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <thread>

#include "builtin/builtins.h"
#include "builtin/version.h"
#include "bus/timers.h"
#include "bus/workers.h"
#include "lifecycle/plugin_set.h"
#include "ops/lock_file.h"
#include "ops/logging.h"
#include "ops/memory.h"
#include "ops/metrics.h"
#include "ops/sd_notify.h"
#include "rpc/grpc_door.h"
#include "rpc/router.h"
#include "rpc/ttrpc_door.h"

namespace berth {
namespace {

/// How long an orderly stop may take; after that the process ends all the same, since every start
/// is a recovery.
constexpr int64_t kStopNanoseconds = 10'000'000'000;

/// Signals that the main thread waits for; blocked in all threads.
sigset_t handled_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) sigaddset(&set, signal);
  return set;
}

Status make_directory(const std::string& path, mode_t mode) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return errno_status(error.value(), "make directory " + path);
  if (::chmod(path.c_str(), mode) != 0) return errno_status(errno, "set the mode of " + path);
  return {};
}

void set_oom_score(int64_t score) {
  if (score == 0) return;
  std::ofstream file("/proc/self/oom_score_adj");
  file << score << std::flush;
  if (!file)
    spdlog::warn("set oom_score_adj to {}: {}; going on with the present one", score,
                 strerror(errno));
}

void write_state_dump(const lifecycle::PluginSet& plugins) {
  spdlog::info("state dump: {} worker threads", bus::workers().threads());
  for (const lifecycle::PluginView& view : plugins.views()) {
    if (view.target == nullptr) {
      spdlog::info("  {} does not run: {}", view.node.uri(), view.node.reason);
      continue;
    }
    spdlog::info("  {} {} calls in flight", view.node.uri(), view.target->in_flight());
    for (const auto& method : view.target->methods()) {
      const bus::MethodTotals totals = method->statistics.totals();
      if (totals.calls == 0) continue;
      spdlog::info("    {} calls={} errors={} mean_us={} in={} out={}", method->full_name(),
                   totals.calls, totals.errors, totals.nanoseconds / totals.calls / 1000,
                   totals.bytes_in, totals.bytes_out);
    }
  }
}

void report(const std::vector<config::Diagnostic>& diagnostics, bool as_errors) {
  for (const config::Diagnostic& one : diagnostics) {
    if (as_errors) {
      spdlog::error("{}", one.to_string());
    } else {
      spdlog::warn("{}", one.to_string());
    }
  }
}

/// Everything between configuration and the wait for signals. Members are destroyed in reverse
/// order; what plugins may still point to is never deleted.
class Daemon {
 public:
  Daemon(const DaemonOptions& options, config::Config config)
      : options_(options),
        config_(*new config::Config(std::move(config))),
        facts_(*new abi::HostFacts{config_.values().root, config_.values().state,
                                   config_.values().grpc.address, config_.values().ttrpc.address,
                                   std::string(builtin::version())}),
        router_(*new rpc::Router),
        plugins_(*new lifecycle::PluginSet(config_, facts_)) {}

  Status start() {
    const config::Values& values = config_.values();
    BERTH_RETURN_IF_ERROR(make_directory(values.root, 0700));
    // The root of a user namespace passes through it on its way to its container's rootfs.
    BERTH_RETURN_IF_ERROR(make_directory(values.state, 0711));
    // Two daemons on one root would lose each other's data, on one state each other's containers.
    BERTH_ASSIGN_OR_RETURN(root_lock_,
                           ops::lock_file(values.root + "/berthd.lock", ops::LockKind::kAlone,
                                          "another berthd, or a berth-plugin-run, uses this root; "
                                          "stop it or choose another --root"));
    BERTH_ASSIGN_OR_RETURN(
        state_lock_,
        ops::lock_file(values.state, ops::LockKind::kAlone,
                       "another berthd uses this state; stop it or choose another --state"));
    set_oom_score(values.oom_score);

    std::vector<config::Diagnostic> diagnostics = config_.diagnostics();
    const builtin::Builtins builtins =
        builtin::make_builtins(plugins_, router_, config_, &diagnostics);
    health_ = builtins.health;
    plugins_.resolve(builtins.services, &diagnostics);
    report(diagnostics, options_.strict);
    const auto problems = plugins_.problems();
    for (const std::string& problem : problems) spdlog::error("{}", problem);
    if (options_.strict && !(diagnostics.empty() && problems.empty())) {
      return failed_precondition(
          "start with --strict: the configuration or the plugins have the problems above");
    }
    if (const auto fatal = plugins_.fatal(); !fatal.empty())
      return failed_precondition(fatal.front());

    // The ttrpc door opens first: shims that are found again by a starting plugin publish through
    // it at once.
    BERTH_ASSIGN_OR_RETURN(ttrpc_door_, rpc::TtrpcDoor::open(values.ttrpc.address, values.ttrpc.uid,
                                                             values.ttrpc.gid, router_));
    BERTH_RETURN_IF_ERROR(plugins_.start());
    BERTH_RETURN_IF_ERROR(refuse_failed_when_strict());
    for (bus::Target* target : plugins_.client_facing()) router_.add(*target);
    const auto missing = plugins_.missing_services();
    std::string absent;
    for (const auto& [service, reason] : missing) {
      router_.explain_absence(service, reason);
      absent += (absent.empty() ? "" : ", ") + service;
    }
    router_.complete();
    if (!absent.empty()) spdlog::error("services that are not there: {}", absent);
    rpc::GrpcDoorOptions door{values.grpc.address, values.grpc.uid, values.grpc.gid,
                              values.max_receive_bytes, values.max_send_bytes};
    BERTH_ASSIGN_OR_RETURN(grpc_door_, rpc::GrpcDoor::open(door, router_));
    if (!values.metrics_address.empty()) {
      BERTH_ASSIGN_OR_RETURN(metrics_, ops::MetricsServer::open(values.metrics_address,
                                                                [this] { return measured(); }));
    }
    health_->set_serving(true);
    if (missing.empty()) {
      ops::sd_notify("READY=1\nSTATUS=serving on " + values.grpc.address);
      spdlog::info("berthd {} serves on {}", builtin::version(), values.grpc.address);
    } else {
      ops::sd_notify("READY=1\nSTATUS=degraded: " + std::to_string(missing.size()) +
                     " services are not there");
      spdlog::error("berthd {} serves on {} and is not ready: {} services are not there",
                    builtin::version(), values.grpc.address, missing.size());
    }
    return {};
  }

  void wait_for_stop(const sigset_t& signals) {
    const auto watchdog = ops::watchdog_interval();
    while (true) {
      int signal = 0;
      if (watchdog) {
        const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(*watchdog);
        const timespec timeout{seconds.count(), (*watchdog - seconds).count() * 1000};
        signal = ::sigtimedwait(&signals, nullptr, &timeout);
        ping_watchdog();
      } else {
        signal = ::sigwaitinfo(&signals, nullptr);
      }
      if (signal == SIGHUP) reload_log_level();
      if (signal == SIGUSR1) write_state_dump(plugins_);
      if (signal == SIGTERM || signal == SIGINT) return;
    }
  }

  void stop() {
    ops::sd_notify("STOPPING=1");
    spdlog::info("berthd stops");
    const int64_t deadline = monotonic_now() + kStopNanoseconds;
    bus::timers().add(deadline + 2'000'000'000, [] {
      spdlog::error("the stop took too long; ending without waiting any longer");
      ::_exit(1);
    });
    health_->set_serving(false);
    ttrpc_door_->close();
    // Plugins end their calls, long waits included; then the doors have nothing left to wait for.
    plugins_.stop(deadline);
    grpc_door_->close(monotonic_now() + 500'000'000);
    grpc_door_.reset();
    ttrpc_door_.reset();
    metrics_.reset();
  }

 private:
  ops::Measured measured() const {
    ops::Measured all;
    all.targets = plugins_.targets();
    for (const auto& [uri, facts] : plugins_.processes()) {
      all.processes.push_back({uri, facts.pid, facts.restarts, facts.usage.resident_bytes,
                               facts.usage.cpu_nanoseconds});
    }
    return all;
  }

  /// Some faults show only when a plugin runs.
  Status refuse_failed_when_strict() const {
    if (!options_.strict) return {};
    for (const lifecycle::PluginView& view : plugins_.views()) {
      if (view.node.state != graph::State::kFailed && view.first_failure.ok()) continue;
      return failed_precondition(
          "start with --strict: plugin " + view.node.uri() + " does not run: " +
          (view.first_failure.ok() ? view.node.reason : view.first_failure.message()));
    }
    return {};
  }

  /// Alive means that a handler thread can be had and that it runs, not merely that this thread
  /// does.
  void ping_watchdog() {
    bus::workers().spawn([] { ops::sd_notify("WATCHDOG=1"); });
  }

  void reload_log_level() {
    auto fresh = config::Config::load(options_.config_file, options_.overrides);
    if (!fresh.ok()) {
      spdlog::error("SIGHUP: {}; the log level stays", fresh.status().message());
      return;
    }
    const config::Values& values = fresh->values();
    const Status set = ops::configure_log(values.log_level, values.log_format);
    if (set.ok()) {
      plugins_.set_log({values.log_level, values.log_format});
      spdlog::info("SIGHUP: log level is {}", values.log_level);
    } else {
      spdlog::error("SIGHUP: {}; the log level stays", set.message());
    }
  }

  const DaemonOptions& options_;
  config::Config& config_;
  abi::HostFacts& facts_;
  rpc::Router& router_;
  lifecycle::PluginSet& plugins_;
  rpc::Health* health_ = nullptr;
  UniqueFd root_lock_;
  UniqueFd state_lock_;
  std::unique_ptr<rpc::TtrpcDoor> ttrpc_door_;
  std::unique_ptr<rpc::GrpcDoor> grpc_door_;
  std::unique_ptr<ops::MetricsServer> metrics_;
};

}  // namespace

Status run_daemon(const DaemonOptions& options) {
  const sigset_t signals = handled_signals();
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);

  BERTH_ASSIGN_OR_RETURN(config::Config config,
                         config::Config::load(options.config_file, options.overrides));
  BERTH_RETURN_IF_ERROR(ops::configure_log(config.values().log_level, config.values().log_format));
  // A burst of work, an unpack say, would else leave the heap at its largest for ever.
  bus::workers().on_quiet(ops::trim_heap);
  Daemon daemon(options, std::move(config));
  const Status started = daemon.start();
  if (!started.ok()) return started;
  const size_t released = ops::release_start_pages();
  spdlog::debug("gave back {} kB of memory that only the start needed", released / 1024);
  daemon.wait_for_stop(signals);
  daemon.stop();
  return {};
}

}  // namespace berth
