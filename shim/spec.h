// The little that a shim wants to know of an OCI config.json, read without building it in memory: a
// seccomp profile alone would cost more pages than the rest of the shim.
#pragma once

#include <berth/status.h>

#include <string>
#include <string_view>

namespace berth::shim {

struct SpecFacts {
  /// The id of the pod whose shim serves this container; empty: it has a shim of its own.
  std::string group;
  /// The kernel kills all its processes together with the first one.
  bool own_pid_namespace = false;
  /// linux.cgroupsPath, as it stands there.
  std::string cgroups_path;
  /// Start and delete do what only the runtime can: hooks poststart and poststop, Intel's resource
  /// director.
  bool needs_runtime = false;
};

/// INVALID_ARGUMENT when the text is not JSON.
Result<SpecFacts> read_spec(std::string_view json);

/// The newest message of level error in the log of an OCI runtime (lines of JSON); empty: none.
std::string last_error(std::string_view log);

/// `text` as a JSON string.
std::string json_string(std::string_view text);
/// The text member `key` of a JSON object; empty when it is absent or no text.
std::string json_member(std::string_view object, const char* key);

}  // namespace berth::shim
