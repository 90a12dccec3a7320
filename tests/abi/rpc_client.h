// Calls by name with messages as values, over gRPC as clients make them and over ttrpc as shims do.
#pragma once

#include <berth/status.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <map>
#include <string>
#include <vector>

namespace berth::testing {

using Headers = std::map<std::string, std::string>;

class RpcClient {
 public:
  /// `address`: path of the daemon's socket.
  explicit RpcClient(const std::string& address);

  /// `method`: "/package.Service/Method". All responses of the method, for a unary one the one.
  grpc::Status call(const std::string& method, const std::string& request,
                    std::vector<std::string>* responses, const Headers& headers = {});
  /// Sends all `requests` first.
  grpc::Status call(const std::string& method, const std::vector<std::string>& requests,
                    std::vector<std::string>* responses, const Headers& headers = {});

  template <typename Request, typename Response>
  grpc::Status unary(const std::string& method, const Request& request, Response* response,
                     const Headers& headers = {}) {
    std::vector<std::string> responses;
    const grpc::Status status = call(method, request.SerializeAsString(), &responses, headers);
    if (!status.ok()) return status;
    if (responses.size() != 1 || !response->ParseFromString(responses.front())) {
      return {grpc::StatusCode::DATA_LOSS, "not one well-formed response"};
    }
    return status;
  }

 private:
  grpc::GenericStub stub_;
};

/// One unary call over ttrpc on a connection of its own.
Status ttrpc_call(const std::string& address, const std::string& service, const std::string& method,
                  const std::string& request, std::string* response, const Headers& headers = {});

}  // namespace berth::testing
