// One plugin in a process of its own, for the berthd that has started it (host/process).
#pragma once

#include <berth/status.h>

#include <string>

namespace berth::plugin_run {

struct LinkedOptions {
  std::string file;    // the shared object
  std::string uri;     // which of its plugins
  int link = -1;       // descriptor of the socket to berthd
  int64_t parent = 0;  // berthd's pid
};

/// Does what the link asks for until it ends, and then ends the process. Returns only when it could
/// not begin.
Status run_linked(const LinkedOptions& options);

}  // namespace berth::plugin_run
