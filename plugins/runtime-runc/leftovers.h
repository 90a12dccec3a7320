// What is left of a container whose shim is gone, and whose shim's program does not remove it.
#pragma once

#include <berth/shim_client/bundle.h>
#include <berth/status.h>

#include <chrono>
#include <string>

namespace berth::runtime {

/// Has the OCI runtime itself end and remove the container, if it has a state: which runtime, and
/// where its states are, shims for runc and its like write into the bundle. `path` is where
/// programs are searched for. OK also when there is nothing. Otherwise the status says what is
/// left and how to remove it. Blocks, twice `timeout` at most.
Status remove_by_runtime(const shim_client::Bundle& bundle, const std::string& path,
                         std::chrono::nanoseconds timeout);

}  // namespace berth::runtime
