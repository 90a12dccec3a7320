// The action `delete`: what a dead shim left behind.
#pragma once

#include <berth/status.h>

#include <string>

#include "arguments.h"

namespace berth::shim {

/// Kills and removes the container, unmounts its root file system, removes the shim's socket if
/// nobody listens there. Returns a serialized DeleteResponse to print.
Result<std::string> remove_leftovers(const Arguments& arguments);

}  // namespace berth::shim
