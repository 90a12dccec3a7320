// A plugin as the bus sees it: something that has methods and takes calls.
#pragma once

#include <berth/abi.h>
#include <berth/status.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "bus/accounting.h"

namespace berth::bus {

class Call;

struct Method {
  std::string service;  // "containerd.services.version.v1.Version"
  std::string name;     // "Version"
  uint32_t flags = 0;   // BERTH_METHOD_*
  uint32_t service_index = 0;
  uint32_t method_index = 0;
  mutable MethodStatistics statistics;

  std::string full_name() const { return service + "/" + name; }
  bool client_stream() const { return (flags & BERTH_METHOD_CLIENT_STREAM) != 0; }
  bool server_stream() const { return (flags & BERTH_METHOD_SERVER_STREAM) != 0; }
  bool no_block() const { return (flags & BERTH_METHOD_NO_BLOCK) != 0; }
};

/// Lives for ever once calls can reach it (ABI rule 11). Set up on one thread; afterwards any
/// thread.
class Target {
 public:
  struct Identity {
    std::string uri, type, id, capabilities;
  };

  explicit Target(Identity identity) : identity_(std::move(identity)) {}
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;

  const Identity& identity() const { return identity_; }

  // -- set-up, before ready() --
  /// Adds the methods of a service; their service_index is the number of services before it.
  void add_service(const berth_service& service);
  /// Who serves the calls; `instance` is given back to `handle`.
  void serve(void (*handle)(void*, uint32_t, uint32_t, berth_call*), void* instance);

  /// From now on calls are taken.
  void ready();
  /// From now on calls are refused as UNAVAILABLE with `reason`. Calls in flight go on.
  void refuse(std::string reason);
  bool is_ready() const { return ready_.load(std::memory_order_acquire); }
  /// OK, or UNAVAILABLE with the plugin's URI and the reason.
  Status availability() const;

  /// Index of "package.Service/Method", BERTH_NO_METHOD when it is not served.
  uint32_t resolve(std::string_view full_name) const;
  const Method* method(uint32_t index) const;
  const std::vector<std::unique_ptr<Method>>& methods() const { return methods_; }
  const std::vector<const berth_service*>& services() const { return services_; }

  void handle(const Method& method, berth_call* call) const;

  // -- calls in flight --
  /// False, and nothing has happened, when calls are refused: after refuse() has returned none
  /// comes in.
  bool enter(Call* call);
  void leave(Call* call);
  /// Ends all calls in flight with `status`; handlers see them as cancelled.
  void cancel_all(const Status& status);
  /// Waits until no server end is open, or the deadline (CLOCK_MONOTONIC nanoseconds); true when
  /// none is.
  bool wait_idle(int64_t deadline);
  uint64_t in_flight() const;

 private:
  const Identity identity_;
  std::vector<std::unique_ptr<Method>> methods_;
  std::vector<const berth_service*> services_;
  std::unordered_map<std::string, uint32_t> by_name_;
  void (*handle_)(void*, uint32_t, uint32_t, berth_call*) = nullptr;
  void* instance_ = nullptr;
  std::atomic<bool> ready_{false};

  mutable std::mutex mutex_;
  std::string reason_ = "it has not been started";  // guarded by mutex_
  Call* first_call_ = nullptr;                      // guarded by mutex_, as are the calls' links
  uint64_t call_count_ = 0;                         // guarded by mutex_
  std::condition_variable idle_;
};

}  // namespace berth::bus
