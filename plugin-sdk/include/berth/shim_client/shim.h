// The task service of one shim, typed.
#pragma once

#include <berth/context.h>
#include <berth/shim_client/bootstrap.h>
#include <berth/ttrpc/client.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "containerd/runtime/task/v2/shim.pb.h"

namespace berth::shim_client {

// Versions 2 and 3 of the task service have the same messages; only the service's name differs.
namespace shim_api = containerd::task::v2;

/// How long a shim may take to answer when the caller sets no earlier deadline.
struct ShimTimeouts {
  std::chrono::nanoseconds state = std::chrono::seconds(2);   // State, Connect, Pids, Stats
  std::chrono::nanoseconds action = std::chrono::minutes(2);  // what runs the OCI runtime
  std::chrono::nanoseconds shutdown = std::chrono::seconds(3);
  std::chrono::nanoseconds connect = std::chrono::seconds(5);
};

/// A connection to a shim. Any thread, except that waiting calls must not be made on the loop's
/// thread.
class Shim : public std::enable_shared_from_this<Shim> {
 public:
  /// Connects; does not ask whether the task service answers.
  static Result<std::shared_ptr<Shim>> connect(const std::shared_ptr<ttrpc::Loop>& loop,
                                               TaskKey key, const Bootstrap& bootstrap,
                                               const ShimTimeouts& timeouts);

  /// Calls `method` and waits. The answer of the shim, code and text, is kept as it is; a shim that
  /// is silent is named. One that does not answer at all, not even whether it is there, is not
  /// waited for as long as an action may take.
  template <typename Request, typename Response>
  Status call(const Context& context, std::string_view method, const Request& request,
              Response* response, std::chrono::nanoseconds timeout) {
    std::string payload;
    const Status status =
        call_bytes(context, method, request.SerializeAsString(), timeout, &payload);
    if (!status.ok()) return status;
    return parse(method, payload, response);
  }
  /// The usual call: with the timeout of actions.
  template <typename Request, typename Response>
  Status call(const Context& context, std::string_view method, const Request& request,
              Response* response) {
    return call(context, method, request, response, timeouts_.action);
  }

  /// Calls without holding a thread. `done` runs once on the loop's thread, or at once; it must not
  /// block.
  template <typename Response, typename Request>
  ttrpc::Client::CallId call_async(const Context& context, std::string_view method,
                                   const Request& request, std::chrono::nanoseconds timeout,
                                   std::function<void(Status, Response)> done) {
    return call_async_bytes(context, method, request.SerializeAsString(), timeout,
                            [self = shared_from_this(), method = std::string(method),
                             done = std::move(done)](Status status, const std::string& payload) {
                              Response response;
                              if (status.ok()) status = self->parse(method, payload, &response);
                              done(std::move(status), std::move(response));
                            });
  }
  bool cancel(ttrpc::Client::CallId call) {
    return client_->cancel(
        call, cancelled("wait for the shim of task " + key_.to_string() + ": context canceled"));
  }

  /// The state of a process; an empty exec id is the task's first.
  Status state(const Context& context, const std::string& exec_id,
               shim_api::StateResponse* response);

  /// `closed` runs once on the loop's thread when the connection ends.
  void on_close(std::function<void()> closed);
  void close() { client_->close(); }
  bool closed() const { return client_->closed(); }

  /// Speaks the older service from now on. False when this is the oldest.
  bool downgrade();
  int version() const { return version_; }

  /// Of the shim's own process; 0 until it has told.
  uint32_t pid() const { return pid_; }
  void set_pid(uint32_t pid) { pid_ = pid; }
  const ShimTimeouts& timeouts() const { return timeouts_; }
  /// It has let a call wait for longer than the timeout of State, and has answered none since.
  bool silent() const { return silent_; }

 private:
  Shim(TaskKey key, int version, const ShimTimeouts& timeouts,
       std::shared_ptr<ttrpc::Client> client)
      : key_(std::move(key)), timeouts_(timeouts), client_(std::move(client)), version_(version) {}
  Status call_bytes(const Context& context, std::string_view method, const std::string& payload,
                    std::chrono::nanoseconds timeout, std::string* response);
  ttrpc::Client::CallId call_async_bytes(const Context& context, std::string_view method,
                                         const std::string& payload,
                                         std::chrono::nanoseconds timeout,
                                         ttrpc::Client::Done done);
  template <typename Response>
  Status parse(std::string_view method, const std::string& payload, Response* response) const {
    if (response->ParseFromString(payload)) return {};
    return internal_error(name() + " answered " + std::string(method) +
                          " with a malformed message");
  }
  ttrpc::CallOptions options(const Context& context, std::chrono::nanoseconds timeout) const;
  std::string_view service() const {
    return version_ >= 3 ? "containerd.task.v3.Task" : "containerd.task.v2.Task";
  }
  std::string name() const;  // "the shim (pid 12) of task default/x"
  /// How a call ended that began then: remembers whether the shim answers, and says so.
  Status explain(Status status, std::string_view method, std::chrono::nanoseconds timeout,
                 int64_t began_ns);
  Status does_not_answer(std::string_view method, const std::string& within) const;

  const TaskKey key_;
  const ShimTimeouts timeouts_;
  const std::shared_ptr<ttrpc::Client> client_;
  std::atomic<int> version_;
  std::atomic<uint32_t> pid_ = 0;
  std::atomic<bool> silent_ = false;
};

/// Shims say UNKNOWN when a process is in no state for what is asked ("cannot delete a running
/// process"); clients look for FAILED_PRECONDITION. The text stays.
inline Status with_state_code(const Status& status) {
  const bool wrong_state =
      status.code() == Code::kUnknown && (status.message().starts_with("cannot start a ") ||
                                          status.message().starts_with("cannot delete a "));
  return wrong_state ? Status(Code::kFailedPrecondition, status.message(), status.details())
                     : status;
}

/// Whether a call failed because the connection to the shim is gone.
inline bool is_closed(const Status& status) {
  return status.code() == Code::kUnavailable && status.message().starts_with("ttrpc: closed");
}

}  // namespace berth::shim_client
