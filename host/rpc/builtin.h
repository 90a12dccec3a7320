// Turns a service class of the host itself into a target of the bus, as if it were a plugin.
#pragma once

#include <berth/plugin.h>

#include <memory>

#include "bus/host_table.h"
#include "bus/target.h"

namespace berth::rpc {

/// A target that serves one service class, ready to be called. The target and the service live for
/// ever.
template <typename S>
bus::Target& serve_builtin(std::string type, std::string id, std::unique_ptr<S> service) {
  bus::host_table();
  auto* target = new bus::Target({type + "." + id, type, id, ""});  // targets live for ever
  target->add_service(*detail::service_table<S, S>());
  target->serve(
      [](void* instance, uint32_t, uint32_t method, berth_call* call) {
        static_cast<Service*>(static_cast<S*>(instance))->handle(method, ServerCall(call));
      },
      service.release());
  target->ready();
  return *target;
}

}  // namespace berth::rpc
