// A daemon under measurement: berthd or containerd, with directories of its own, gone when it goes
// out of scope.
#pragma once

#include <sys/types.h>

#include <string>

namespace berth::bench {

enum class Kind { kBerth, kContainerd };

class DaemonProcess {
 public:
  /// Starts it and waits until it answers Version; throws std::runtime_error with the log's end
  /// when it does not within 20 s. `program` is the path of its binary.
  DaemonProcess(Kind kind, const std::string& program);
  /// Ends it and removes its directory.
  ~DaemonProcess();
  DaemonProcess(const DaemonProcess&) = delete;
  DaemonProcess& operator=(const DaemonProcess&) = delete;

  const std::string& address() const { return address_; }
  /// From exec to the first answer, in milliseconds.
  double start_milliseconds() const { return start_milliseconds_; }
  /// Resident, proportional and private dirty memory in kilobytes.
  struct Memory {
    double resident, proportional, private_dirty;
  };
  Memory memory() const;
  /// CPU time used so far, in milliseconds.
  double cpu_milliseconds() const;

 private:
  std::string directory_;
  std::string address_;
  pid_t pid_ = -1;
  double start_milliseconds_ = 0;
};

}  // namespace berth::bench
