// A service of another program, reached by gRPC on a unix socket, as a target of the bus. It knows
// methods as text and messages as bytes, as the doors do.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bus/target.h"

namespace berth::proxy {

/// Where calls of one proxied plugin go.
struct Remote {
  std::string uri;      // of the plugin, for messages
  std::string address;  // path of a unix socket, with or without "unix://"
  std::string ns;       // of all calls; empty: the caller's
  int max_receive_bytes = 16 << 20;
  int max_send_bytes = 16 << 20;
};

/// A target that serves `services` ("package.Service", of the generated API) by passing each call
/// on: headers, deadline, cancellation, streams, status. It is ready at once; while nobody answers
/// at the address, calls end as UNAVAILABLE and say so. INVALID_ARGUMENT for an address that is
/// none, NOT_FOUND for a service that the API does not have. The target lives for ever.
Result<bus::Target*> serve_remote(const std::string& type, const std::string& id, Remote remote,
                                  const std::vector<std::string>& services);

}  // namespace berth::proxy
