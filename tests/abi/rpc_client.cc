#include "rpc_client.h"

#include <berth/context.h>
#include <berth/ttrpc/client.h>
#include <berth/ttrpc/loop.h>

namespace berth::testing {

Status ttrpc_call(const std::string& address, const std::string& service, const std::string& method,
                  const std::string& request, std::string* response, const Headers& headers) {
  BERTH_ASSIGN_OR_RETURN(const std::shared_ptr<ttrpc::Loop> loop, ttrpc::Loop::start());
  BERTH_ASSIGN_OR_RETURN(const std::shared_ptr<ttrpc::Client> client,
                         ttrpc::Client::connect(loop, address));
  ttrpc::CallOptions options;
  options.deadline_ns = monotonic_now() + 30'000'000'000;
  for (const auto& [key, value] : headers) options.metadata.push_back({key, value});
  return client->call(service, method, request, options, response);
}

}  // namespace berth::testing
