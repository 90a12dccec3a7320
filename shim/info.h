// What `-info` prints.
#pragma once

#include <berth/status.h>

#include <string>

namespace berth::shim {

/// A serialized containerd.types.RuntimeInfo with the features of the OCI runtime. `input` is what
/// the daemon wrote to standard input: an Any with options, or nothing.
Result<std::string> runtime_info(std::string_view input);

}  // namespace berth::shim
