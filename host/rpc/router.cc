#include "rpc/router.h"

#include <berth/message.h>

namespace berth::rpc {

void Router::add(bus::Target& target) {
  const std::lock_guard lock(mutex_);
  for (const berth_service* service : target.services()) {
    std::string name(view(service->name));
    absent_.erase(name);
    services_[name] = {name, &target, service};
  }
}

void Router::explain_absence(const std::string& service, std::string reason) {
  const std::lock_guard lock(mutex_);
  if (!services_.contains(service)) absent_[service] = std::move(reason);
}

void Router::complete() {
  const std::lock_guard lock(mutex_);
  complete_ = true;
}

Result<Route> Router::find(std::string_view path) const {
  if (path.starts_with('/')) path.remove_prefix(1);
  const std::string_view service = path.substr(0, path.rfind('/'));
  const std::lock_guard lock(mutex_);
  const auto found = services_.find(service);
  if (found == services_.end()) {
    if (!complete_)
      return unavailable("service " + std::string(service) + ": the daemon is starting");
    const auto reason = absent_.find(service);
    return unimplemented(
        "unknown service " + std::string(service) +
        (reason == absent_.end() ? std::string(": no plugin provides it") : ": " + reason->second));
  }
  const uint32_t method = found->second.target->resolve(path);
  if (method == BERTH_NO_METHOD) {
    return unimplemented("unknown method " + std::string(path.substr(path.rfind('/') + 1)) +
                         " for service " + std::string(service));
  }
  return Route{found->second.target, method};
}

std::vector<Router::Served> Router::served() const {
  const std::lock_guard lock(mutex_);
  std::vector<Served> list;
  for (const auto& [name, served] : services_) list.push_back(served);
  return list;
}

std::map<std::string, std::string> Router::absent() const {
  const std::lock_guard lock(mutex_);
  return {absent_.begin(), absent_.end()};
}

}  // namespace berth::rpc
