#include "shim.h"

namespace berth::runtime {
namespace {

std::string in_words(std::chrono::nanoseconds time) {
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
  return milliseconds % 1000 == 0 ? std::to_string(milliseconds / 1000) + "s"
                                  : std::to_string(milliseconds) + "ms";
}

constexpr auto kNoTimeout = std::chrono::nanoseconds::max();

}  // namespace

Result<std::shared_ptr<Shim>> Shim::connect(const std::shared_ptr<ttrpc::Loop>& loop, TaskKey key,
                                            const Bootstrap& bootstrap,
                                            const ShimTimeouts& timeouts) {
  BERTH_ASSIGN_OR_RETURN(const std::string path, bootstrap.socket_path());
  auto client =
      ttrpc::Client::connect(loop, path, ttrpc::monotonic_ns() + timeouts.connect.count());
  if (!client.ok())
    return client.status().with_context("connect to the shim of task " + key.to_string());
  return std::shared_ptr<Shim>(
      new Shim(std::move(key), bootstrap.version, timeouts, std::move(*client)));
}

std::string Shim::name() const {
  return "the shim " + (pid_ == 0 ? std::string() : "(pid " + std::to_string(pid_) + ") ") +
         "of task " + key_.to_string();
}

ttrpc::CallOptions Shim::options(const Context& context, std::chrono::nanoseconds timeout) const {
  int64_t deadline = context.deadline();
  if (timeout != kNoTimeout) deadline = std::min(deadline, ttrpc::monotonic_ns() + timeout.count());
  return {deadline, {{std::string(ttrpc::kNamespaceKey), key_.ns}}};
}

Status Shim::explain(Status status, std::string_view method,
                     std::chrono::nanoseconds timeout) const {
  if (status.code() != Code::kDeadlineExceeded || !status.message().starts_with("ttrpc: call"))
    return status;
  return deadline_exceeded(name() + " did not answer " + std::string(method) + " within " +
                           in_words(timeout) + " or the caller's deadline");
}

Status Shim::call_bytes(const Context& context, std::string_view method, const std::string& payload,
                        std::chrono::nanoseconds timeout, std::string* response) {
  const std::string_view service =
      version_ >= 3 ? "containerd.task.v3.Task" : "containerd.task.v2.Task";
  std::function<bool()> cancelled;
  if (context.call() != nullptr) cancelled = [&context] { return context.cancelled(); };
  return explain(
      client_->call(service, method, payload, options(context, timeout), response, cancelled),
      method, timeout);
}

ttrpc::Client::CallId Shim::call_async_bytes(const Context& context, std::string_view method,
                                             const std::string& payload,
                                             std::chrono::nanoseconds timeout,
                                             ttrpc::Client::Done done) {
  const std::string_view service =
      version_ >= 3 ? "containerd.task.v3.Task" : "containerd.task.v2.Task";
  return client_->call_async(service, method, payload, options(context, timeout),
                             [self = shared_from_this(), method = std::string(method), timeout,
                              done = std::move(done)](Status status, std::string bytes) {
                               done(self->explain(std::move(status), method, timeout),
                                    std::move(bytes));
                             });
}

Status Shim::state(const Context& context, const std::string& exec_id,
                   shim_api::StateResponse* response) {
  shim_api::StateRequest request;
  request.set_id(key_.id);
  request.set_exec_id(exec_id);
  return call(context, "State", request, response, timeouts_.state);
}

void Shim::on_close(std::function<void()> closed) {
  client_->on_close([closed = std::move(closed)](const Status&) { closed(); });
}

bool Shim::downgrade() {
  int expected = 3;
  return version_.compare_exchange_strong(expected, 2);
}

}  // namespace berth::runtime
