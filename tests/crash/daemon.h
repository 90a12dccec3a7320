// berthd under test: started again whenever it dies, with the time that it took to be ready.
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <mutex>
#include <string>
#include <vector>

#include "client.h"
#include "machine.h"

namespace berth::crash {

struct Programs {
  std::string berthd;
  std::string plugins;  // of the ordinary build
  std::string faults;   // plugins/ and shim/ with fault points
};

/// Any thread.
class Daemon {
 public:
  /// Starts it in `folder`, which is made; throws std::runtime_error when it does not come up.
  Daemon(const Programs& programs, const std::string& folder, const std::string& space);
  /// Ends it and everything that is left.
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  const std::string& folder() const { return folder_; }
  const std::string& space() const { return space_; }
  const std::string& address() const { return address_; }
  const Client& client() const { return client_; }
  std::string fault_folder() const { return folder_ + "/faults"; }

  pid_t pid() const;
  /// How often it has been started, and is ready again. Waits until it is; throws
  /// std::runtime_error when it does not come back.
  int life() const;
  /// kill -9; it is started again by itself.
  void kill();
  /// SIGTERM, and waits; false when it did not end properly in 20 s. Nobody starts it again.
  bool stop();

  /// From its start to its first answer, of each start so far, in milliseconds.
  std::vector<double> ready_times() const;
  std::string log_end() const;
  size_t log_size() const;
  /// What was written after the first `begin` bytes, or the end of that.
  std::string log_since(size_t begin) const;

 private:
  void spawn();
  void await_answer();
  void ended(pid_t pid, int status);

  const std::string folder_;
  const std::string space_;
  const std::string address_;
  const std::string berthd_;
  const Client client_;

  mutable std::mutex mutex_;  // guards what follows
  mutable std::condition_variable changed_;
  pid_t pid_ = -1;
  int life_ = 0;
  bool ready_ = false;
  bool dead_ = false;
  bool stopping_ = false;
  int end_status_ = 0;
  std::vector<double> ready_times_;

  Reaper reaper_;
  std::thread starter_;
};

}  // namespace berth::crash
