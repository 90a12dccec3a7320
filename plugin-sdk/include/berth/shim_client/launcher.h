// Runs shim programs: finds them by the runtime's name, starts a shim, has the remains of a dead
// one deleted.
#pragma once

#include <berth/shim_client/bootstrap.h>

#include <chrono>
#include <functional>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace berth::shim_client {

/// How a process ended.
struct ExitStatus {
  uint32_t pid = 0;
  uint32_t status = 0;
  int64_t seconds = 0;  // since 1970
  int32_t nanos = 0;
};
/// Ended just now, as by SIGKILL: what is told of a task whose shim is gone.
ExitStatus killed_now(uint32_t pid);

struct LauncherSettings {
  std::vector<std::string> shim_path;  // folders searched first
  std::vector<std::string> own;        // folders of the daemon's own shims, preferred to PATH
  std::string path;                    // PATH of the daemon
  std::string beside;                  // the folder of the daemon's own program
  std::string address;                 // of the daemon's gRPC socket
  std::string ttrpc_address;           // of its ttrpc socket, to which shims send events
  std::string publish_binary;          // for shims that publish by running a program
  std::string daemon_version;
  std::vector<std::string> environment;  // added to the daemon's own
  bool debug = false;                    // shims log at debug level
  std::chrono::nanoseconds start_timeout = std::chrono::seconds(30);
  std::chrono::nanoseconds delete_timeout = std::chrono::seconds(5);
};

/// "containerd-shim-runc-v2" for "io.containerd.runc.v2"; empty for what is no such name.
std::string shim_binary_name(std::string_view runtime);

/// All functions block on the program that they run; any thread.
class ShimLauncher {
 public:
  explicit ShimLauncher(LauncherSettings settings) : settings_(std::move(settings)) {}

  /// The program of a runtime: an absolute path stays as it is, a name like io.containerd.runc.v2
  /// is searched for.
  Result<std::string> resolve(const std::string& runtime) const;

  /// Starts the shim of a bundle. `options`: a serialized google.protobuf.Any, or empty. The
  /// deadline is the earlier of `deadline_ns` and the start timeout. What the program wrote to its
  /// standard error is the text of a failure. When `cancelled` says so it is killed: CANCELLED.
  /// `environment` is added to that of the settings, "KEY=value".
  Result<Bootstrap> start(const Bundle& bundle, const std::string& binary,
                          const std::string& options, int64_t deadline_ns,
                          const std::function<bool()>& cancelled = {},
                          const std::vector<std::string>& environment = {}) const;

  /// Lets the shim's program kill and clean up what a shim that is gone has left. ABORTED when it
  /// was killed: what it has not come to is left, and it may be run again.
  Result<ExitStatus> remove(const Bundle& bundle, const std::string& binary) const;

  /// What the program tells about its runtime: a serialized containerd.types.RuntimeInfo.
  /// UNIMPLEMENTED by old ones.
  Result<std::string> info(const std::string& binary, const std::string& options) const;

 private:
  std::vector<std::string> environment_of(const std::string& ns) const;
  std::vector<std::string> arguments(const TaskKey& key) const;
  bool wants_params(const std::string& binary, const std::function<bool()>& cancelled) const;

  const LauncherSettings settings_;
  mutable std::mutex mutex_;  // guards what follows
  /// Whether a program takes BootstrapParams, by its file; asked once.
  mutable std::unordered_map<std::string, bool> wants_params_;
};

}  // namespace berth::shim_client
