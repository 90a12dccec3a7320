// Calls to a running daemon by the name of the method, with messages as bytes.
#pragma once

#include <berth/status.h>

#include <chrono>
#include <functional>
#include <map>
#include <string>

namespace berth::ctl {

/// The socket that a daemon of the default configuration serves on.
Result<std::string> default_address();

struct CallOptions {
  std::map<std::string, std::string> headers;
  std::chrono::seconds timeout{10};
};

/// One request, any number of responses, in their order. `method`: "package.Service/Method".
/// UNAVAILABLE when nobody listens at `address`; else the status of the call.
Status call(const std::string& address, const std::string& method, const std::string& request,
            const CallOptions& options, const std::function<void(const std::string&)>& response);

}  // namespace berth::ctl
