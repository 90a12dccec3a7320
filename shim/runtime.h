// The OCI runtime, runc or crun, as a command.
#pragma once

#include <string>
#include <vector>

#include "bundle.h"
#include "children.h"

namespace berth::shim {

/// The descriptors of the program, borrowed; -1 is /dev/null for the first and is collected for
/// error messages for the others.
struct RuntimeIo {
  int in = -1;
  int out = -1;
  int err = -1;
};

class Runtime {
 public:
  Runtime(Children* children, const RuntimeOptions& options, const std::string& ns,
          std::string bundle);

  /// Runs one command to its end. A failure has the runtime's own words, after `what` ("OCI runtime
  /// create failed") as containerd's clients know it; its code is UNKNOWN. ABORTED when it was
  /// killed and so may have done its work or not.
  Status run(std::string_view what, std::vector<std::string> arguments, RuntimeIo io = {}) const;

  /// "created", "running", "stopped", …; empty when the runtime does not say.
  std::string state(const std::string& id) const;
  /// A signal for the first process or, with `all`, for every one. NOT_FOUND when there is none.
  Status kill(const std::string& id, uint32_t signal, bool all) const;
  /// OK also when there is no such container.
  Status remove(const std::string& id, bool force) const;

  const RuntimeOptions& options() const { return options_; }
  /// The folder of the runtime's states.
  const std::string& root() const { return root_; }
  /// The folder of what it knows of one container.
  std::string state_of(const std::string& id) const { return root_ + "/" + id; }
  /// runc and crun: the pids that they tell are the container's own processes.
  bool native() const;

 private:
  /// One that does no harm when it is run again; ABORTED when it was killed again and again.
  Status run_to_end(std::string_view what, const std::vector<std::string>& arguments) const;

  Children* const children_;
  const RuntimeOptions options_;
  const std::string root_;
  const std::string bundle_;
};

/// What a failed `kill` of a runtime means to containerd's clients.
Status kill_error(const Status& failure);

}  // namespace berth::shim
