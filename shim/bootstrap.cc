#include "bootstrap.h"

#include <berth/fault.h>
#include <berth/fd.h>
#include <berth/ttrpc/probe.h>
#include <berth/ttrpc/server.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>

#include "bundle.h"
#include "cgroup.h"
#include "files.h"
#include "sha256.h"
#include "spec.h"
#include "wire.h"

namespace berth::shim {
namespace {

constexpr const char* kSocketFolder = "/run/containerd/s";

// The path "/run/../run/x" and "/run/x/" name the same socket for the peer's shims, which clean it.
std::string cleaned(std::string_view path) {
  std::string out;
  while (!path.empty()) {
    const size_t end = path.find('/');
    const std::string_view part = path.substr(0, end);
    path.remove_prefix(end == std::string_view::npos ? path.size() : end + 1);
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      out.erase(std::min(out.rfind('/'), out.size()));
      continue;
    }
    out += '/';
    out += part;
  }
  return out;
}

// One above the daemon's: when memory is short, shims go before it and after their containers.
void adjust_oom_score(pid_t shim) {
  const auto text = read_file("/proc/" + std::to_string(::getppid()) + "/oom_score_adj");
  if (!text.ok()) return;
  const int score = std::min(std::atoi(text->c_str()) + 1, 1000);
  // Without CAP_SYS_RESOURCE a score may not fall; then the inherited one stays.
  (void)write_file("/proc/" + std::to_string(shim) + "/oom_score_adj", std::to_string(score));
}

// A core scheduling domain of its own, which the container's processes inherit.
Status make_core_domain() {
  if (const char* const wanted = ::getenv("SCHED_CORE"); wanted == nullptr || *wanted == '\0') {
    return {};
  }
  constexpr int kThreadGroup = 1;
  if (::prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0, kThreadGroup, 0) != 0 && errno != ENODEV) {
    return errno_status(errno, "make a core scheduling domain");
  }
  return {};
}

Result<pid_t> spawn_shim(const Arguments& arguments, const std::string& id, int listening) {
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  ::posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, listening, 3);
  ::posix_spawn_file_actions_addclosefrom_np(&actions, 4);
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
  const std::string self = [] {
    char path[4096];
    const ssize_t size = ::readlink("/proc/self/exe", path, sizeof path);
    return std::string(path, size < 0 ? 0 : static_cast<size_t>(size));
  }();
  std::vector<const char*> argv = {self.c_str(), "-namespace", arguments.ns.c_str(),     "-id",
                                   id.c_str(),   "-address",   arguments.address.c_str()};
  if (arguments.debug) argv.push_back("-debug");
  argv.push_back(nullptr);
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, self.c_str(), &actions, &attributes,
                                  const_cast<char* const*>(argv.data()), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (error != 0) return errno_status(error, "start the shim " + self);
  return pid;
}

}  // namespace

std::string socket_path(std::string_view daemon_address, std::string_view ns, std::string_view id) {
  const std::string name = cleaned(daemon_address) + "/" + std::string(ns) + "/" + std::string(id);
  return std::string(kSocketFolder) + "/" + sha256_hex(name);
}

StartRequest read_start_request(std::string_view input, std::string_view max_version,
                                const Arguments& arguments) {
  StartRequest out;
  if (!max_version.empty() && std::atoi(std::string(max_version).c_str()) >= 3) {
    out.form = AnswerForm::kJson;
    out.version = 3;
  }
  // BootstrapParams have id and namespace as fields 1 and 2, where an Any has type and value.
  std::string_view any = input;
  if (!input.empty() && find_bytes(input, 1) == arguments.id &&
      find_bytes(input, 2) == arguments.ns) {
    out.form = AnswerForm::kMessage;
    out.version = 3;
    any = find_bytes(find_bytes(input, 8), 1);
  }
  out.options_type = find_bytes(any, 1);
  out.options = find_bytes(any, 2);
  return out;
}

std::string start_answer(const StartRequest& request, std::string_view address) {
  switch (request.form) {
    case AnswerForm::kAddress:
      return std::string(address);
    case AnswerForm::kJson:
      return "{\"version\":" + std::to_string(request.version) +
             ",\"address\":" + json_string(address) + ",\"protocol\":\"ttrpc\"}";
    case AnswerForm::kMessage:
      break;
  }
  std::string out;
  put_number(1, static_cast<uint64_t>(request.version), &out);
  put_text(2, address, &out);
  put_text(3, "ttrpc", &out);
  return out;
}

void remove_dead_socket(const std::string& bundle) {
  constexpr std::string_view kUnix = "unix://";
  const auto address = read_file(bundle + "/address");
  if (!address.ok() || !address->starts_with(std::string(kUnix) + kSocketFolder)) return;
  const std::string path = address->substr(kUnix.size());
  ttrpc::remove_dead_socket(path);
}

Result<std::string> start(const Arguments& arguments) {
  const char* const max_version = ::getenv("MAX_SHIM_VERSION");
  const StartRequest request =
      read_start_request(read_all(0), max_version == nullptr ? "" : max_version, arguments);
  BERTH_ASSIGN_OR_RETURN(const RuntimeOptions options,
                         parse_options(request.options_type, request.options));
  BERTH_ASSIGN_OR_RETURN(const std::string config, read_file("config.json"));
  BERTH_ASSIGN_OR_RETURN(const SpecFacts facts, read_spec(config));
  const std::string id = facts.group.empty() ? arguments.id : facts.group;
  const std::string path = socket_path(arguments.address, arguments.ns, id);
  const std::string address = "unix://" + path;
  if (ttrpc::is_served(path)) {
    if (facts.group.empty()) {
      return already_exists("start the shim of " + arguments.id + ": another one listens on " +
                            path);
    }
    BERTH_RETURN_IF_ERROR(write_file("address", address));
    return start_answer(request, address);
  }
  ::mkdir("/run/containerd", 0711);
  ::mkdir(kSocketFolder, 0711);
  BERTH_RETURN_IF_ERROR(make_core_domain());
  BERTH_FAULT_POINT("shim.bootstrap.begin");
  // Before there is a socket and a shim: `delete` must find its name in any case.
  BERTH_RETURN_IF_ERROR(write_file("address", address));
  BERTH_FAULT_POINT("shim.bootstrap.addressed");
  BERTH_ASSIGN_OR_RETURN(const UniqueFd listening, ttrpc::listen_unix(path, 0600));
  BERTH_FAULT_POINT("shim.bootstrap.listening");
  Cleanup remove_socket([&] { ::unlink(path.c_str()); });
  BERTH_ASSIGN_OR_RETURN(const pid_t pid, spawn_shim(arguments, id, listening.get()));
  BERTH_FAULT_POINT("shim.bootstrap.spawned");
  Cleanup kill_shim([&] { ::kill(pid, SIGKILL); });
  BERTH_RETURN_IF_ERROR(write_file("shim.pid", std::to_string(pid)));
  if (!options.shim_cgroup.empty()) {
    BERTH_RETURN_IF_ERROR(join_cgroup(options.shim_cgroup, pid));
  }
  adjust_oom_score(pid);
  kill_shim.dismiss();
  remove_socket.dismiss();
  return start_answer(request, address);
}

}  // namespace berth::shim
