// A berthd of one test: folders of its own under the temporary directory, ended and cleared away
// whatever happens.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace berth::testing {

/// A directory made by mkdtemp; removed with all that is in it when destroyed.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(const std::string& name);
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// How a process ended.
struct Ending {
  bool ended = false;  // false: it was killed since it did not end in time
  int exit_code = -1;  // -1 when a signal ended it
  int signal = 0;
};

/// One process whose output goes to a file. Killed and waited for when destroyed.
class Process {
 public:
  Process(const std::vector<std::string>& command, std::string output_file);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  bool running();
  void kill(int signal) const;
  /// Waits at most `milliseconds`, then kills.
  Ending wait(int milliseconds);
  /// Everything it has written so far.
  std::string output() const;
  pid_t pid() const { return pid_; }

 private:
  void reap(bool block);

  pid_t pid_ = -1;
  std::string output_file_;
  bool reaped_ = false;
  int wait_status_ = 0;
};

/// berthd with a temporary root, state and address, and the plugins of one directory.
class DaemonProcess {
 public:
  explicit DaemonProcess(const std::string& plugin_dir,
                         const std::vector<std::string>& arguments = {},
                         const std::string& config_text = {});

  /// Waits until it says that it serves. False when it ends, or 20 s pass.
  bool wait_until_serving();
  Process& process() { return process_; }
  std::string address() const { return folder_.path() + "/berthd.sock"; }
  const std::string& folder() const { return folder_.path(); }
  std::string log() const { return process_.output(); }

 private:
  static std::vector<std::string> command(const std::string& folder, const std::string& plugin_dir,
                                          const std::vector<std::string>& arguments,
                                          const std::string& config_text);
  TemporaryFolder folder_;
  Process process_;
};

/// The program under test (BERTHD in the environment, else the one that was built).
std::string berthd_program();

}  // namespace berth::testing
