#include "daemon_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <vector>

#include "client.h"

namespace berth::bench {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

std::string read_file(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace

DaemonProcess::DaemonProcess(Kind kind, const std::string& program) {
  char name[] = "/tmp/berth-bench-XXXXXX";
  directory_ = ::mkdtemp(name);
  address_ = directory_ + "/daemon.sock";
  std::vector<std::string> arguments = {
      program,     "--root", directory_ + "/root", "--state", directory_ + "/state",
      "--address", address_, "--log-level",        "error"};
  if (kind == Kind::kContainerd) {
    const std::string config = directory_ + "/config.toml";
    std::ofstream(config)
        << "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[debug]\naddress = \""
        << directory_ << "/debug.sock\"\n";
    arguments.insert(arguments.end(), {"--config", config});
  }
  const std::string log = directory_ + "/log";
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);

  const auto began = Clock::now();
  pid_ = ::fork();
  if (pid_ == 0) {
    const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ::dup2(fd, 1);
    ::dup2(fd, 2);
    ::execv(program.c_str(), argv.data());
    ::_exit(127);
  }
  while (!fs::exists(address_) || !Client(address_).answers()) {
    if (milliseconds_since(began) > 20'000 || ::waitpid(pid_, nullptr, WNOHANG) == pid_) {
      throw std::runtime_error(program + " does not answer on " + address_ + ": " + read_file(log));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  start_milliseconds_ = milliseconds_since(began);
}

DaemonProcess::~DaemonProcess() {
  if (pid_ > 0) {
    ::kill(pid_, SIGTERM);
    for (int i = 0; i < 200 && ::waitpid(pid_, nullptr, WNOHANG) == 0; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    if (::kill(pid_, SIGKILL) == 0) ::waitpid(pid_, nullptr, 0);
  }
  std::error_code ignored;
  fs::remove_all(directory_, ignored);
}

DaemonProcess::Memory DaemonProcess::memory() const {
  Memory memory{};
  std::istringstream in(read_file("/proc/" + std::to_string(pid_) + "/smaps_rollup"));
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
  return memory;
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

}  // namespace berth::bench
