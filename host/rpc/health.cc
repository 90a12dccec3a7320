#include "rpc/health.h"

namespace berth::rpc {

void Health::set_serving(bool serving) {
  const std::lock_guard lock(mutex_);
  serving_ = serving;
  ++generation_;
  wake_.notify_all();
}

void Health::changed() {
  const std::lock_guard lock(mutex_);
  ++generation_;
  wake_.notify_all();
}

Health::Response::ServingStatus Health::status_of(const std::string& service) const {
  bool serving = false;
  {
    const std::lock_guard lock(mutex_);
    serving = serving_;
  }
  const auto absent = router_.absent();
  if (service.empty()) {
    if (!serving || !absent.empty()) return Response::NOT_SERVING;
    for (const Router::Served& served : router_.served()) {
      if (!served.target->is_ready()) return Response::NOT_SERVING;
    }
    return Response::SERVING;
  }
  if (absent.contains(service)) return Response::NOT_SERVING;
  for (const Router::Served& served : router_.served()) {
    if (served.service == service) {
      return serving && served.target->is_ready() ? Response::SERVING : Response::NOT_SERVING;
    }
  }
  return Response::SERVICE_UNKNOWN;
}

Status Health::Check(Context&, const Request& request, Response* response) {
  const auto status = status_of(request.service());
  if (status == Response::SERVICE_UNKNOWN) {
    return not_found("health of service \"" + request.service() + "\": unknown service");
  }
  response->set_status(status);
  return {};
}

Status Health::Watch(Context& context, const Request& request, ServerWriter<Response>& writer) {
  std::optional<Response::ServingStatus> told;
  while (!context.cancelled()) {
    uint64_t seen = 0;
    {
      const std::lock_guard lock(mutex_);
      seen = generation_;
    }
    const auto status = status_of(request.service());
    if (told != status) {
      Response response;
      response.set_status(status);
      if (!writer.Write(response)) break;
      told = status;
    }
    std::unique_lock lock(mutex_);
    // Cancellation has no condition of ours; a look twice a second bounds how long a thread
    // outlives its client.
    wake_.wait_for(lock, std::chrono::milliseconds(500), [&] { return generation_ != seen; });
  }
  return cancelled("health watch of \"" + request.service() + "\": cancelled by the client");
}

}  // namespace berth::rpc
