// Calls by name with messages as values, over gRPC as clients make them and over ttrpc as shims do.
#pragma once

#include <berth/status.h>

#include <map>
#include <string>
#include <vector>

#include "rpc/grpc_client.h"

namespace berth::testing {

using Headers = std::map<std::string, std::string>;

/// The gRPC client, for whole calls with typed messages.
class RpcClient {
 public:
  /// `address`: path of the daemon's socket.
  explicit RpcClient(const std::string& address) : client_(address) {}

  /// `method`: "/package.Service/Method". All responses of the method, for a unary one the one.
  Status call(const std::string& method, const std::string& request,
              std::vector<std::string>* responses, const Headers& headers = {}) {
    return call(method, std::vector<std::string>{request}, responses, headers);
  }
  /// Sends all `requests` first.
  Status call(const std::string& method, const std::vector<std::string>& requests,
              std::vector<std::string>* responses, const Headers& headers = {}) {
    return client_.call(method, requests, {headers},
                        [&](std::string bytes) { responses->push_back(std::move(bytes)); });
  }

  template <typename Request, typename Response>
  Status unary(const std::string& method, const Request& request, Response* response,
               const Headers& headers = {}) {
    std::vector<std::string> responses;
    BERTH_RETURN_IF_ERROR(call(method, request.SerializeAsString(), &responses, headers));
    if (responses.size() != 1 || !response->ParseFromString(responses.front())) {
      return data_loss("not one well-formed response");
    }
    return {};
  }

 private:
  rpc::GrpcClient client_;
};

/// One unary call over ttrpc on a connection of its own.
Status ttrpc_call(const std::string& address, const std::string& service, const std::string& method,
                  const std::string& request, std::string* response, const Headers& headers = {});

}  // namespace berth::testing
