#include <berth/shim_client/shim.h>

#include <fstream>

namespace berth::shim_client {
namespace {

std::string in_words(std::chrono::nanoseconds time) {
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
  return milliseconds % 1000 == 0 ? std::to_string(milliseconds / 1000) + "s"
                                  : std::to_string(milliseconds) + "ms";
}

constexpr auto kNoTimeout = std::chrono::nanoseconds::max();

// By SIGSTOP or a debugger.
bool is_stopped(uint32_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string stat;
  std::getline(file, stat);
  const size_t end = stat.rfind(") ");
  return end != std::string::npos && (stat[end + 2] == 'T' || stat[end + 2] == 't');
}

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

Status Shim::does_not_answer(std::string_view method, const std::string& within) const {
  std::string text = name() + " did not answer " + std::string(method) + " within " + within;
  if (pid_ != 0 && is_stopped(pid_)) {
    text += ": its process is stopped: SIGCONT lets it go on, SIGKILL gives its containers up";
  }
  return deadline_exceeded(std::move(text));
}

Status Shim::explain(Status status, std::string_view method, std::chrono::nanoseconds timeout,
                     int64_t began_ns) {
  const bool timed_out =
      status.code() == Code::kDeadlineExceeded && status.message().starts_with("ttrpc: call");
  if (!timed_out) {
    if (status.ok()) silent_ = false;
    return status;
  }
  // A caller in a hurry has not found anything out. The clocks of both may differ by a little.
  if ((ttrpc::monotonic_ns() - began_ns) * 10 >= timeouts_.state.count() * 9) silent_ = true;
  return does_not_answer(method, in_words(timeout) + " or the caller's deadline");
}

Status Shim::call_bytes(const Context& context, std::string_view method, const std::string& payload,
                        std::chrono::nanoseconds timeout, std::string* response) {
  // Containerd's shim answers nothing while it creates a container.
  const bool may_ask = method != "Create" && timeout > timeouts_.state;
  const int64_t began = ttrpc::monotonic_ns();
  const int64_t patience = silent_ ? 0 : timeouts_.state.count();
  const auto lost = std::make_shared<std::atomic<bool>>(false);
  bool asked = false;
  const auto given_up = [&] {
    if (context.call() != nullptr && context.cancelled()) return true;
    if (may_ask && !asked && ttrpc::monotonic_ns() - began >= patience) {
      asked = true;
      shim_api::ConnectRequest request;
      request.set_id(key_.id);
      call_async_bytes(Context(), "Connect", request.SerializeAsString(), timeouts_.state,
                       [lost](const Status& status, const std::string&) {
                         *lost = status.code() == Code::kDeadlineExceeded;
                       });
    }
    return lost->load();
  };
  const Status status =
      client_->call(service(), method, payload, options(context, timeout), response, given_up);
  if (status.code() == Code::kCancelled && *lost) {
    const auto waited = std::chrono::nanoseconds(ttrpc::monotonic_ns() - began);
    return does_not_answer(method, in_words(waited) + ", nor whether it is there");
  }
  return explain(status, method, timeout, began);
}

ttrpc::Client::CallId Shim::call_async_bytes(const Context& context, std::string_view method,
                                             const std::string& payload,
                                             std::chrono::nanoseconds timeout,
                                             ttrpc::Client::Done done) {
  return client_->call_async(
      service(), method, payload, options(context, timeout),
      [self = shared_from_this(), method = std::string(method), timeout,
       began = ttrpc::monotonic_ns(), done = std::move(done)](Status status, std::string bytes) {
        done(self->explain(std::move(status), method, timeout, began), std::move(bytes));
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

}  // namespace berth::shim_client
