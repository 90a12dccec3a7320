#include "validate/placed.h"

#include <berth/spawn.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <thread>

#include "bus/host_table.h"
#include "manifest/manifest.h"
#include "process/process_plugin.h"
#include "proxy/remote_service.h"
#include "validate/under_test.h"

namespace berth::ctl::validate {
namespace {

constexpr int64_t kStopNanoseconds = 5'000'000'000;
constexpr const char* kSnapshots = "containerd.services.snapshots.v1.Snapshots";

Result<manifest::Plugin> plugin_of_subject() {
  BERTH_ASSIGN_OR_RETURN(const manifest::Manifest read, manifest::read_manifest(subject().file));
  for (const manifest::Plugin& one : read.plugins) {
    if (one.uri() == subject().plugin) return one;
  }
  return not_found(subject().file + " has no plugin " + subject().plugin);
}

Target target_of(bus::Target* target) { return Target(bus::handle_of(target)); }

/// The file of a socket is there before anybody listens.
bool is_listening(const std::string& path) {
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return false;
  path.copy(address.sun_path, path.size());
  return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

/// As berthd has it with placement = "process".
class InProcess final : public PlacedPlugin {
 public:
  static Result<std::unique_ptr<PlacedPlugin>> start(const std::string& directory) {
    BERTH_ASSIGN_OR_RETURN(const manifest::Plugin plugin, plugin_of_subject());
    process::ProcessOptions options;
    BERTH_ASSIGN_OR_RETURN(options.program, process::program_beside_this());
    options.file = subject().file;
    options.log.level = "warn";
    abi::InstanceSettings settings;
    settings.type = plugin.type;
    settings.id = plugin.id;
    settings.config_json = subject().config_json;
    // Both live for ever.
    const auto& host = *new abi::HostFacts{directory + "/root", directory + "/state", "", "", ""};
    auto* placed = new process::ProcessPlugin(std::move(options), std::move(settings), host);
    for (const auto& step : {&abi::Placed::probe, &abi::Placed::init, &abi::Placed::start}) {
      const abi::Placed::Step done = (placed->*step)();
      if (done.outcome != abi::Placed::Outcome::kOk) {
        if (placed->goes_on()) placed->stop(monotonic_now() + kStopNanoseconds);
        return done.status;
      }
      if (step == &abi::Placed::init) placed->ready();
    }
    return std::unique_ptr<PlacedPlugin>(new InProcess(placed));
  }
  ~InProcess() override { plugin_->stop(monotonic_now() + kStopNanoseconds); }
  Target target() const override { return target_of(&plugin_->target()); }

 private:
  explicit InProcess(process::ProcessPlugin* plugin) : plugin_(plugin) {}
  process::ProcessPlugin* plugin_;
};

/// A socket at which a program serves the plugin's type, reached as by [proxy_plugins].
class BehindSocket final : public PlacedPlugin {
 public:
  static Result<std::unique_ptr<PlacedPlugin>> connect(const std::string& socket,
                                                       const std::string& ns, pid_t program) {
    auto placed = std::unique_ptr<BehindSocket>(new BehindSocket(program));
    BERTH_ASSIGN_OR_RETURN(
        placed->target_,
        proxy::serve_remote("io.containerd.snapshotter.v1", "remote",
                            {subject().plugin, socket, ns, 16 << 20, 16 << 20}, {kSnapshots}));
    return std::unique_ptr<PlacedPlugin>(std::move(placed));
  }

  static Result<std::unique_ptr<PlacedPlugin>> start(const std::string& directory) {
    const std::string socket = directory + "/plugin.sock";
    BERTH_ASSIGN_OR_RETURN(const std::string program, process::program_beside_this());
    const std::vector<std::string> words = {
        program, subject().file, "--plugin",          subject().plugin, "--listen",
        socket,  "--root",       directory + "/root", "--log-level",    "warn"};
    SpawnSettings settings;
    pid_t pid = -1;
    const int error = ::posix_spawn(&pid, program.c_str(), &settings.actions, &settings.attributes,
                                    pointers(words).data(), environ);
    if (error != 0) return errno_status(error, "start " + program);
    auto placed = connect(socket, "", pid);
    for (int tries = 0; !is_listening(socket); ++tries) {
      if (::waitpid(pid, nullptr, WNOHANG) == pid || tries == 1000) {
        if (tries == 1000) ::kill(pid, SIGKILL);
        if (placed.ok()) static_cast<BehindSocket&>(**placed).program_ = -1;
        return failed_precondition(program + " did not serve " + subject().file);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return placed;
  }
  ~BehindSocket() override {
    if (program_ <= 0) return;
    ::kill(program_, SIGTERM);
    while (::waitpid(program_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  Target target() const override { return target_of(target_); }

 private:
  explicit BehindSocket(pid_t program) : program_(program) {}
  pid_t program_;
  bus::Target* target_ = nullptr;
};

}  // namespace

Result<std::unique_ptr<PlacedPlugin>> PlacedPlugin::start(const std::string& directory) {
  bus::host_table();
  if (subject().placement == "process") return InProcess::start(directory);
  if (subject().placement == "proxy") return BehindSocket::start(directory);
  // Another daemon outlives the case, and keeps cases apart by namespaces.
  const std::string ns = "kit-" + std::to_string(std::hash<std::string>()(directory));
  return BehindSocket::connect(subject().remote, ns, 0);
}

}  // namespace berth::ctl::validate
