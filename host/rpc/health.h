// grpc.health.v1: whether the daemon, and each service, can be called. Truthful: a service whose
// plugin is absent, failed or stopping is NOT_SERVING, and so is the daemon ("") while one that it
// owes its clients is.
#pragma once

#include <condition_variable>
#include <mutex>

#include "grpc/health/v1/health.berth.h"
#include "rpc/router.h"

namespace berth::rpc {

class Health final : public grpc::health::v1::HealthService {
 public:
  using Request = grpc::health::v1::HealthCheckRequest;
  using Response = grpc::health::v1::HealthCheckResponse;

  explicit Health(const Router& router) : router_(router) {}

  /// The daemon has started, or begins to stop. Watchers learn it. Any thread.
  void set_serving(bool serving);
  /// Something about a plugin changed; watchers look again. Any thread.
  void changed();

  Status Check(Context& context, const Request& request, Response* response) override;
  Status Watch(Context& context, const Request& request, ServerWriter<Response>& writer) override;

 private:
  Response::ServingStatus status_of(const std::string& service) const;

  const Router& router_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool serving_ = false;     // guarded by mutex_
  uint64_t generation_ = 0;  // guarded by mutex_
};

}  // namespace berth::rpc
