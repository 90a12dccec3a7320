#include "daemon.h"

#include <berth/spawn.h>
#include <google/protobuf/empty.pb.h>
#include <signal.h>
#include <sys/wait.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "containerd/services/tasks/v1/tasks.pb.h"
#include "containerd/services/version/v1/version.pb.h"

namespace berth::crash {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr auto kStartPatience = std::chrono::seconds(30);

double milliseconds_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

}  // namespace

Daemon::Daemon(const Programs& programs, const std::string& folder, const std::string& space)
    : folder_(folder),
      space_(space),
      address_(folder + "/d.sock"),
      berthd_(programs.berthd),
      client_(address_, space),
      reaper_([this](pid_t pid, int status) { ended(pid, status); }) {
  fs::create_directories(fault_folder());
  const fs::path plugins = folder_ + "/plugins";
  fs::create_directory(plugins);
  fs::permissions(plugins, fs::perms::owner_all);
  fs::copy(programs.plugins, plugins);
  for (const auto& entry : fs::directory_iterator(programs.faults + "/plugins")) {
    fs::copy_file(entry.path(), plugins / entry.path().filename(),
                  fs::copy_options::overwrite_existing);
  }
  std::ofstream(folder_ + "/config.toml")
      << "version = 3\n[plugins.\"io.containerd.runtime.v2.task\"]\nshim_path = [\""
      << programs.faults << "/shim\"]\n";
  spawn();
  await_answer();
  starter_ = std::thread([this] {
    while (true) {
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return dead_ || stopping_; });
        if (stopping_) return;
        spawn();
      }
      try {
        await_answer();
      } catch (const std::exception&) {
        // Killed while it started, as some points want it; else life() tells.
      }
    }
  });
}

Daemon::~Daemon() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  if (starter_.joinable()) starter_.join();
  clean_up(folder_, space_);
}

// With mutex_, or before there are threads.
void Daemon::spawn() {
  std::vector<std::string> arguments = {berthd_,
                                        "--root",
                                        folder_ + "/root",
                                        "--state",
                                        folder_ + "/state",
                                        "--address",
                                        address_,
                                        "--plugin-dir",
                                        folder_ + "/plugins",
                                        "--config",
                                        folder_ + "/config.toml"};
  std::vector<std::string> environment = {"BERTH_FAULT_DIR=" + fault_folder()};
  for (char** entry = environ; *entry != nullptr; ++entry) environment.emplace_back(*entry);
  SpawnSettings settings;
  const std::string log = folder_ + "/log";
  ::posix_spawn_file_actions_addopen(&settings.actions, 1, log.c_str(),
                                     O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::posix_spawn_file_actions_adddup2(&settings.actions, 1, 2);
  ::posix_spawn_file_actions_addclosefrom_np(&settings.actions, 3);
  const auto argv = pointers(arguments);
  const auto envp = pointers(environment);
  dead_ = false;
  ready_ = false;
  const int error = ::posix_spawn(&pid_, berthd_.c_str(), &settings.actions, &settings.attributes,
                                  argv.data(), envp.data());
  if (error != 0) throw std::runtime_error("cannot run " + berthd_);
}

void Daemon::await_answer() {
  const auto began = Clock::now();
  while (true) {
    {
      const std::lock_guard lock(mutex_);
      if (dead_) throw std::runtime_error("berthd ended at its start:\n" + log_end());
    }
    // A connection of its own: one that has failed waits before it tries again.
    const Client client(address_, space_);
    const auto answer = client.call<containerd::services::version::v1::VersionResponse>(
        "containerd.services.version.v1.Version/Version", google::protobuf::Empty(),
        milliseconds(1000));
    if (answer.ok()) break;
    if (Clock::now() - began > kStartPatience) {
      throw std::runtime_error("berthd does not answer:\n" + log_end());
    }
    std::this_thread::sleep_for(milliseconds(5));
  }
  const std::lock_guard lock(mutex_);
  ready_times_.push_back(milliseconds_since(began));
  ready_ = true;
  ++life_;
  changed_.notify_all();
}

void Daemon::ended(pid_t pid, int status) {
  const std::lock_guard lock(mutex_);
  if (pid != pid_) return;
  dead_ = true;
  ready_ = false;
  end_status_ = status;
  changed_.notify_all();
}

pid_t Daemon::pid() const {
  const std::lock_guard lock(mutex_);
  return pid_;
}

int Daemon::life() const {
  std::unique_lock lock(mutex_);
  (void)changed_.wait_for(lock, 2 * kStartPatience,
                          [this] { return ready_ || (dead_ && stopping_); });
  if (!ready_) throw std::runtime_error("berthd does not come back:\n" + log_end());
  return life_;
}

void Daemon::kill() {
  const std::lock_guard lock(mutex_);
  if (dead_) return;
  ready_ = false;  // its end is noticed a little later
  ::kill(pid_, SIGKILL);
}

bool Daemon::stop() {
  {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  starter_.join();
  std::unique_lock lock(mutex_);
  ::kill(pid_, SIGTERM);
  const bool in_time = changed_.wait_for(lock, std::chrono::seconds(20), [this] { return dead_; });
  return in_time && WIFEXITED(end_status_) && WEXITSTATUS(end_status_) == 0;
}

std::vector<double> Daemon::ready_times() const {
  const std::lock_guard lock(mutex_);
  return ready_times_;
}

std::string Daemon::log_since(size_t begin) const {
  constexpr size_t kBytes = 64 << 10;
  const std::string log = read_file(folder_ + "/log");
  return log.substr(
      std::min(std::max(begin, log.size() - std::min(log.size(), kBytes)), log.size()));
}

size_t Daemon::log_size() const {
  std::error_code error;
  const auto size = fs::file_size(folder_ + "/log", error);
  return error ? 0 : size;
}

std::string Daemon::log_end() const {
  constexpr size_t kBytes = 6000;
  return log_since(log_size() - std::min(log_size(), kBytes));
}

}  // namespace berth::crash
