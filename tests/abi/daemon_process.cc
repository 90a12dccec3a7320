#include "daemon_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

extern char** environ;

namespace berth::testing {
namespace {

using Clock = std::chrono::steady_clock;

void nap() { std::this_thread::sleep_for(std::chrono::milliseconds(5)); }

}  // namespace

std::string berthd_program() {
  const char* chosen = std::getenv("BERTHD");
  return chosen == nullptr ? BERTHD_PROGRAM : chosen;
}

TemporaryFolder::TemporaryFolder(const std::string& name) {
  path_ = std::filesystem::temp_directory_path().string() + "/berth-" + name + ".XXXXXX";
  if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("mkdtemp " + path_);
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Process::Process(const std::vector<std::string>& command, std::string output_file)
    : output_file_(std::move(output_file)) {
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, 1, output_file_.c_str(), O_WRONLY | O_CREAT | O_APPEND,
                                   0600);
  posix_spawn_file_actions_adddup2(&files, 1, 2);
  const int error = ::posix_spawn(&pid_, argv[0], &files, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  if (error != 0) throw std::runtime_error("start " + command.front());
}

Process::~Process() {
  if (running()) {
    kill(SIGKILL);
    reap(true);
  }
}

void Process::reap(bool block) {
  if (reaped_) return;
  reaped_ = ::waitpid(pid_, &wait_status_, block ? 0 : WNOHANG) == pid_;
}

bool Process::running() {
  reap(false);
  return !reaped_;
}

void Process::kill(int signal) const {
  if (!reaped_) ::kill(pid_, signal);
}

Ending Process::wait(int milliseconds) {
  const auto end = Clock::now() + std::chrono::milliseconds(milliseconds);
  while (running() && Clock::now() < end) nap();
  Ending ending;
  ending.ended = reaped_;
  if (!reaped_) {
    kill(SIGKILL);
    reap(true);
  }
  if (WIFEXITED(wait_status_)) ending.exit_code = WEXITSTATUS(wait_status_);
  if (WIFSIGNALED(wait_status_)) ending.signal = WTERMSIG(wait_status_);
  return ending;
}

std::string Process::output() const {
  std::ostringstream text;
  text << std::ifstream(output_file_).rdbuf();
  return text.str();
}

DaemonProcess::DaemonProcess(const std::string& plugin_dir,
                             const std::vector<std::string>& arguments,
                             const std::string& config_text)
    : folder_("daemon"),
      process_(command(folder_.path(), plugin_dir, arguments, config_text),
               folder_.path() + "/log") {}

std::vector<std::string> DaemonProcess::command(const std::string& folder,
                                                const std::string& plugin_dir,
                                                const std::vector<std::string>& arguments,
                                                const std::string& config_text) {
  std::ofstream(folder + "/config.toml") << "version = 3\n" << config_text;
  std::vector<std::string> words = {berthd_program(),  "--config",       folder + "/config.toml",
                                    "--root",          folder + "/root", "--state",
                                    folder + "/state", "--address",      folder + "/berthd.sock",
                                    "--plugin-dir",    plugin_dir};
  words.insert(words.end(), arguments.begin(), arguments.end());
  return words;
}

bool DaemonProcess::wait_until_serving() {
  const auto end = Clock::now() + std::chrono::seconds(20);
  while (Clock::now() < end) {
    if (log().find(" serves on " + address()) != std::string::npos) return true;
    if (!process_.running()) return false;
    nap();
  }
  return false;
}

}  // namespace berth::testing
