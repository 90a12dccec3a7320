// Calls to a running daemon by the name of the method, with messages as bytes.
#pragma once

#include <berth/status.h>

#include <string>

#include "rpc/grpc_client.h"

namespace berth::ctl {

/// The socket that a daemon of the default configuration serves on.
Result<std::string> default_address();

using CallOptions = rpc::GrpcCallOptions;

/// One request, any number of responses, in their order. `method`: "package.Service/Method".
/// UNAVAILABLE when nobody listens at `address`; else the status of the call.
Status call(const std::string& address, const std::string& method, const std::string& request,
            const CallOptions& options, const rpc::GrpcClient::OnResponse& response);

}  // namespace berth::ctl
