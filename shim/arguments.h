// The command line that daemons give to shims.
#pragma once

#include <berth/status.h>

#include <span>
#include <string>

namespace berth::shim {

struct Arguments {
  std::string ns;
  std::string id;
  std::string address;         // the daemon's gRPC socket
  std::string publish_binary;  // accepted and not used: events go over ttrpc
  std::string bundle;
  std::string socket;
  std::string action;  // start, delete, or nothing: serve
  bool debug = false;
  bool version = false;
  bool info = false;
};

/// `words` without the program's name; flags as Go's programs take them: -flag value, -flag=value,
/// one dash or two, before the action. INVALID_ARGUMENT names the flag that is not known.
Result<Arguments> parse_arguments(std::span<char* const> words);

}  // namespace berth::shim
