// One process in a root file system: made, held, let run, waited for.
#pragma once

#include <berth/fd.h>
#include <berth/status.h>
#include <sys/types.h>

#include <string>
#include <vector>

namespace @ident@_plugin {

struct MountPoint {
  std::string type, source, target;
  unsigned long flags = 0;
  std::string data;
};

/// What a process shall be.
struct Wanted {
  std::vector<std::string> args, env;
  std::string cwd = "/";
  uid_t uid = 0;
  gid_t gid = 0;
  std::string root;                // a directory, seen after the mounts were made
  std::vector<MountPoint> mounts;  // in a mount namespace of its own, with which they go; none: no namespace
  std::string in, out, err;        // fifos or files; empty: /dev/null
};

/// `process` of an OCI specification, as JSON.
berth::Status read_process(const std::string& json, Wanted* out);
/// Process, root and mounts of a bundle's config.json.
berth::Status read_bundle(const std::string& bundle, Wanted* out);

/// A child of this program, held until start(). One thread at a time.
class Process {
 public:
  static berth::Result<Process> make(const Wanted& wanted);
  pid_t pid() const { return pid_; }
  /// NOT_FOUND and the like when the program cannot be executed; it has ended then.
  berth::Status start();
  /// The other end of its input: who holds it keeps it from reading the end.
  void close_input() { input_.reset(); }

 private:
  pid_t pid_ = -1;
  berth::UniqueFd go_;       // a byte lets it run
  berth::UniqueFd outcome_;  // why it did not, as errno; closed when it does
  berth::UniqueFd input_;
};

/// Until a child has ended; its pid is nobody else's until it is waited for, too.
void wait_until_end(pid_t pid);
/// Waits for the end of a child: its code, or 128 and the signal.
uint32_t wait_for(pid_t pid);

}  // namespace @ident@_plugin
