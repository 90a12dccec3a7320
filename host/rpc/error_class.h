// The words by which containerd's clients know the class of an error.
#pragma once

#include <berth/status.h>

#include <string>

namespace berth::rpc {

/// `status` with its message ending in ": not found", ": already exists" and so on, as its code
/// asks for. Containerd's messages all do, and its Go client from 2.0 on prints no more than the
/// message: without the ending scripts that look for it miss it. OK, UNKNOWN, INTERNAL and messages
/// that end so already stay as they are.
Status with_class(Status status);

}  // namespace berth::rpc
