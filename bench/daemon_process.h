// A daemon under measurement: berthd or containerd, with directories of its own, gone when it goes
// out of scope.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace berth::bench {

enum class Kind { kBerth, kContainerd };

inline const char* name_of(Kind kind) { return kind == Kind::kBerth ? "Berth" : "containerd"; }

/// Memory of a process, or of several, in kilobytes.
struct Memory {
  double resident = 0, proportional = 0, private_dirty = 0;
  int descriptors = 0;
};

class DaemonProcess {
 public:
  /// Starts it and waits until it answers Version; throws std::runtime_error with the log's end
  /// when it does not within 20 s. `program` is the path of its binary, `directory` does not exist
  /// yet; all that the bench makes in it is to be in the namespace `space`. `shims` is the folder
  /// of the shim that it uses.
  DaemonProcess(Kind kind, const std::string& program, const std::string& directory,
                const std::string& space, const std::string& shims);
  /// Ends it, by force after 10 s, with its shims and containers, and removes its directory.
  ~DaemonProcess();
  DaemonProcess(const DaemonProcess&) = delete;
  DaemonProcess& operator=(const DaemonProcess&) = delete;

  Kind kind() const { return kind_; }
  const std::string& directory() const { return directory_; }
  const std::string& address() const { return address_; }
  const std::string& space() const { return space_; }
  /// From exec to the first answer, in milliseconds.
  double start_milliseconds() const { return start_milliseconds_; }
  /// Of the daemon alone.
  Memory memory() const;
  /// Of all its shims together.
  Memory shim_memory() const;
  size_t shim_count() const;
  /// Path of the program that one of its shims runs, or empty.
  std::string shim_program() const;
  /// CPU time of the daemon alone so far, in milliseconds; a resolution of 10 ms.
  double cpu_milliseconds() const;
  /// Likewise with everything that it started: shims, OCI runtimes, containers.
  double cpu_milliseconds_of_all() const;
  /// The last lines of its log.
  std::string log_end() const;

 private:
  const Kind kind_;
  const std::string directory_, address_, space_;
  std::vector<pid_t> shims() const;

  pid_t pid_ = -1;
  double start_milliseconds_ = 0;
};

}  // namespace berth::bench
