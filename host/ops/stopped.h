// Whether the kernel runs a process at all.
#pragma once

#include <sys/types.h>

#include <string>

namespace berth::ops {

/// In words that follow its name ("is stopped by a signal, ..."), of one that does nothing until
/// somebody lets it go on; empty when it runs or is gone.
std::string why_stopped(pid_t pid);

}  // namespace berth::ops
