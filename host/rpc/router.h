// Which plugin serves a method that a client asks for. Shared by all doors.
#pragma once

#include <berth/status.h>

#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "bus/target.h"

namespace berth::rpc {

struct Route {
  bus::Target* target = nullptr;
  uint32_t method = BERTH_NO_METHOD;
};

/// Services that clients may call. Any thread.
class Router {
 public:
  /// Serves all services of `target` to clients.
  void add(bus::Target& target);
  /// A service that is not there, and why: what a client is told instead of a bare "unknown
  /// service".
  void explain_absence(const std::string& service, std::string reason);

  /// All that will be there is there. Until then a service that is not is UNAVAILABLE, as doors may
  /// be open already: a shim that is told of an unknown service would give its event up.
  void complete();

  /// "/package.Service/Method" or without the leading slash; UNIMPLEMENTED naming what is missing.
  Result<Route> find(std::string_view path) const;

  struct Served {
    std::string service;
    bus::Target* target;
    const berth_service* description;
  };
  /// In order of service name.
  std::vector<Served> served() const;
  /// Services that should be there and are not, with the reason.
  std::map<std::string, std::string> absent() const;

 private:
  mutable std::mutex mutex_;  // guards what follows
  bool complete_ = false;
  std::map<std::string, Served, std::less<>> services_;
  std::map<std::string, std::string, std::less<>> absent_;
};

}  // namespace berth::rpc
