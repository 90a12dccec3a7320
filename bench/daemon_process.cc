#include "daemon_process.h"

#include <berth/spawn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <vector>

#include "client.h"
#include "machine.h"

namespace berth::bench {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

Memory memory_of(pid_t pid) {
  Memory memory;
  std::istringstream in(read_file("/proc/" + std::to_string(pid) + "/smaps_rollup"));
  std::string line;
  while (std::getline(in, line)) {
    std::istringstream fields(line);
    std::string key;
    double value = 0;
    fields >> key >> value;
    if (key == "Rss:") memory.resident = value;
    if (key == "Pss:") memory.proportional = value;
    if (key == "Private_Dirty:") memory.private_dirty = value;
  }
  std::error_code error;
  for (fs::directory_iterator it("/proc/" + std::to_string(pid) + "/fd", error), end;
       !error && it != end; it.increment(error)) {
    ++memory.descriptors;
  }
  return memory;
}

}  // namespace

DaemonProcess::DaemonProcess(Kind kind, const std::string& program, const std::string& directory,
                             const std::string& space, const std::string& shims)
    : kind_(kind), directory_(directory), address_(directory + "/daemon.sock"), space_(space) {
  fs::create_directory(directory_);
  std::vector<std::string> arguments = {
      program,     "--root", directory_ + "/root", "--state", directory_ + "/state",
      "--address", address_, "--log-level",        "error"};
  if (kind == Kind::kBerth) {
    const std::string config = directory_ + "/config.toml";
    std::ofstream(config)
        << "version = 3\n[plugins.\"io.containerd.runtime.v2.task\"]\nshim_path = [\"" << shims
        << "\"]\n";
    arguments.insert(arguments.end(), {"--config", config});
  }
  if (kind == Kind::kContainerd) {
    // The plugins of Kubernetes are of no use here; without them it starts faster and is smaller.
    const std::string config = directory_ + "/config.toml";
    std::ofstream(config)
        << "version = 2\n"
           "disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n"
           "[debug]\naddress = \""
        << directory_ << "/debug.sock\"\n";
    arguments.insert(arguments.end(), {"--config", config});
  }
  const std::string log = directory_ + "/log";
  const auto argv = pointers(arguments);
  // containerd knows its shims by PATH alone.
  const char* const path = std::getenv("PATH");
  const auto environment =
      environment_with({"PATH=" + shims + ":" + (path != nullptr ? path : "/usr/sbin:/usr/bin")});
  const auto envp = pointers(environment);
  // In it too are the shims that it starts. Containers have theirs beside it.
  const std::string group = cpu_cgroup(space_);
  const std::string procs = group.empty() ? "/dev/null" : group + "/daemon/cgroup.procs";
  if (std::error_code error; !group.empty()) fs::create_directories(group + "/daemon", error);

  const auto began = Clock::now();
  // The time of its exec: joining a cgroup may wait for a grace period of the kernel before.
  int told[2] = {-1, -1};
  if (::pipe2(told, O_CLOEXEC) != 0) throw std::runtime_error("make a pipe for " + program);
  pid_ = ::fork();
  if (pid_ == 0) {
    const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ::dup2(fd, 1);
    ::dup2(fd, 2);
    const int member = ::open(procs.c_str(), O_WRONLY | O_CLOEXEC);
    [[maybe_unused]] const ssize_t joined = ::write(member, "0", 1);
    const auto now = Clock::now();
    [[maybe_unused]] const ssize_t written = ::write(told[1], &now, sizeof now);
    ::execve(program.c_str(), argv.data(), envp.data());
    ::_exit(127);
  }
  ::close(told[1]);
  auto executed = began;
  [[maybe_unused]] const ssize_t got = ::read(told[0], &executed, sizeof executed);
  ::close(told[0]);
  while (!fs::exists(address_) || !Client(address_, space_).answers()) {
    if (milliseconds_since(began) > 20'000 || ::waitpid(pid_, nullptr, WNOHANG) == pid_) {
      const std::string reason = program + " does not answer on " + address_ + ": " + log_end();
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
      clean_up(directory_, space_);
      throw std::runtime_error(reason);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  start_milliseconds_ = milliseconds_since(executed);
}

DaemonProcess::~DaemonProcess() {
  bool ended = false;
  ::kill(pid_, SIGTERM);
  for (int i = 0; i < 200 && !ended; ++i) {
    ended = ::waitpid(pid_, nullptr, WNOHANG) != 0;
    if (!ended) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  if (!ended && ::kill(pid_, SIGKILL) == 0) ::waitpid(pid_, nullptr, 0);
  clean_up(directory_, space_);
}

Memory DaemonProcess::memory() const { return memory_of(pid_); }

std::vector<pid_t> DaemonProcess::shims() const {
  std::vector<pid_t> found = processes_with(address_);
  std::erase_if(found, [](pid_t process) {
    return command_line(process).find("containerd-shim") == std::string::npos;
  });
  return found;
}

size_t DaemonProcess::shim_count() const { return shims().size(); }

std::string DaemonProcess::shim_program() const {
  const std::vector<pid_t> found = shims();
  std::error_code error;
  if (found.empty()) return {};
  return fs::read_symlink("/proc/" + std::to_string(found.front()) + "/exe", error).string();
}

Memory DaemonProcess::shim_memory() const {
  Memory sum;
  for (const pid_t process : shims()) {
    const Memory one = memory_of(process);
    sum.resident += one.resident;
    sum.proportional += one.proportional;
    sum.private_dirty += one.private_dirty;
    sum.descriptors += one.descriptors;
  }
  return sum;
}

double DaemonProcess::cpu_milliseconds() const {
  const std::string text = read_file("/proc/" + std::to_string(pid_) + "/stat");
  std::istringstream fields(text.substr(text.rfind(')') + 2));
  std::string skipped;
  double user = 0, system = 0;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  fields >> user >> system;
  return (user + system) * 1000 / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

double DaemonProcess::cpu_milliseconds_of_all() const {
  return cpu_milliseconds_of(cpu_cgroup(space_));
}

std::string DaemonProcess::log_end() const {
  constexpr size_t kBytes = 2000;
  const std::string log = read_file(directory_ + "/log");
  return log.size() <= kBytes ? log : log.substr(log.size() - kBytes);
}

}  // namespace berth::bench
