// The action `start`: makes the shim's socket, starts the shim behind it, says where it is.
#pragma once

#include <berth/status.h>

#include <string>
#include <string_view>

#include "arguments.h"

namespace berth::shim {

/// Where the shim of container or pod `id` listens. The name is a digest, since socket paths are
/// short, and the same for all containers of a pod.
std::string socket_path(std::string_view daemon_address, std::string_view ns, std::string_view id);

/// How the daemon wants its answer.
enum class AnswerForm {
  kAddress,  // the bare address: containerd 1.x
  kJson,     // version, address and protocol: containerd 2.x
  kMessage,  // a BootstrapResult: containerd 2.3 and later
};

struct StartRequest {
  AnswerForm form = AnswerForm::kAddress;
  int version = 2;  // of the task service
  std::string options_type;
  std::string options;
};

/// `input` is what the daemon wrote to the program's standard input, `max_version` the
/// environment's MAX_SHIM_VERSION or empty.
StartRequest read_start_request(std::string_view input, std::string_view max_version,
                                const Arguments& arguments);

std::string start_answer(const StartRequest& request, std::string_view address);

/// In the bundle as working directory; returns what to print. The shim lives when this returns, and
/// takes connections. A container of a pod whose shim runs gets the address of that one.
Result<std::string> start(const Arguments& arguments);

/// Removes the socket that the file "address" of a bundle names, unless somebody lives behind it.
void remove_dead_socket(const std::string& bundle);

}  // namespace berth::shim
