#include <berth/ttrpc/client.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>

namespace berth::ttrpc {
namespace {

constexpr auto kCancelPoll = std::chrono::milliseconds(20);

Status not_connected(const std::string& path, int error) {
  const std::string attempt = "ttrpc: connect to " + path;
  if (error == ECONNREFUSED) {
    return unavailable(attempt + ": nobody listens there any more (connection refused)");
  }
  return errno_status(error, attempt);
}

}  // namespace

Result<std::shared_ptr<Client>> Client::connect(std::shared_ptr<Loop> loop, const std::string& path,
                                                int64_t deadline_ns) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return invalid_argument("ttrpc: connect to \"" + path + "\": a socket path has 1 to " +
                            std::to_string(sizeof address.sun_path - 1) + " bytes");
  }
  std::copy(path.begin(), path.end(), address.sun_path);
  const socklen_t size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  // Non-blocking: EAGAIN is a full backlog, the one case worth waiting for.
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return errno_status(errno, "ttrpc: connect to " + path + ": socket");
  while (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) {
    const int error = errno;
    if (error == EINTR) continue;
    if (error != EAGAIN) return not_connected(path, error);
    if (monotonic_ns() >= deadline_ns) {
      return deadline_exceeded("ttrpc: connect to " + path + ": the peer accepts no connection");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return over(std::move(loop), std::move(socket));
}

Result<std::shared_ptr<Client>> Client::over(std::shared_ptr<Loop> loop, UniqueFd socket) {
  std::shared_ptr<Client> client(new Client(std::move(loop), std::move(socket)));
  BERTH_RETURN_IF_ERROR(client->begin());
  return client;
}

Status Client::begin() {
  const std::weak_ptr<Client> weak = weak_from_this();
  return connection_->begin(
      [weak](Frame frame) {
        if (const auto self = weak.lock()) self->receive(std::move(frame));
      },
      [weak](const Status& reason) {
        if (const auto self = weak.lock()) self->finish_all(reason);
      });
}

Client::~Client() {
  connection_->close(unavailable("ttrpc: closed"));
  // The connection's callbacks cannot reach an object under destruction; nobody is left waiting all
  // the same.
  finish_all(unavailable("ttrpc: closed"));
}

Client::CallId Client::call_async(std::string_view service, std::string_view method,
                                  std::string_view payload, const CallOptions& options, Done done) {
  RequestEnvelope request{std::string(service), std::string(method), std::string(payload), 0,
                          options.metadata};
  const std::string name = request.service + "/" + request.method;
  if (options.deadline_ns != INT64_MAX) {
    request.timeout_ns = options.deadline_ns - monotonic_ns();
    if (request.timeout_ns <= 0) {
      done(deadline_exceeded("ttrpc: call of " + name + ": the deadline has passed"), {});
      return 0;
    }
  }
  CallId call = 0;
  Status refused;
  {
    const std::lock_guard lock(mutex_);
    if (ended_) {
      refused = end_;
    } else {
      call = next_;
      next_ += 2;
      pending_.emplace(call, Pending{std::move(done), 0});
    }
  }
  if (!refused.ok()) {
    done(refused, {});
    return 0;
  }
  if (options.deadline_ns != INT64_MAX) {
    const Loop::Id timer = loop_->at(options.deadline_ns, [weak = weak_from_this(), call, name] {
      if (const auto self = weak.lock()) {
        self->finish(call, deadline_exceeded("ttrpc: call of " + name + ": no answer in time"), {});
      }
    });
    const std::lock_guard lock(mutex_);
    if (const auto found = pending_.find(call); found != pending_.end())
      found->second.timer = timer;
  }
  // No flags: a unary request, as peers of all ages understand it.
  const Status sent = connection_->send(call, kRequest, 0, encode(request));
  if (!sent.ok()) finish(call, sent, {});
  return call;
}

bool Client::cancel(CallId call, const Status& reason) { return finish(call, reason, {}); }

bool Client::finish(CallId call, Status status, std::string payload) {
  Pending pending;
  {
    const std::lock_guard lock(mutex_);
    const auto found = pending_.find(call);
    if (found == pending_.end()) return false;
    pending = std::move(found->second);
    pending_.erase(found);
  }
  if (pending.timer != 0) loop_->cancel(pending.timer);
  pending.done(std::move(status), std::move(payload));
  return true;
}

void Client::receive(Frame frame) {
  if (frame.type != kResponse) return;  // unary calls only: data frames belong to none of ours
  if (frame.oversized != 0) {
    finish(frame.stream_id,
           resource_exhausted("ttrpc: receive a message of " + std::to_string(frame.oversized) +
                              " bytes: the limit is " + std::to_string(kMaxPayload)),
           {});
    return;
  }
  ResponseEnvelope response;
  if (Status decoded = decode(frame.payload, &response); !decoded.ok()) {
    finish(frame.stream_id, internal_error(decoded.message()), {});
    return;
  }
  finish(frame.stream_id, std::move(response.status), std::move(response.payload));
}

void Client::finish_all(const Status& reason) {
  std::unordered_map<CallId, Pending> pending;
  std::function<void(const Status&)> closed;
  {
    const std::lock_guard lock(mutex_);
    if (ended_) return;
    ended_ = true;
    end_ = reason;
    pending.swap(pending_);
    closed.swap(on_close_);
  }
  for (auto& [call, entry] : pending) {
    if (entry.timer != 0) loop_->cancel(entry.timer);
    entry.done(reason, {});
  }
  if (closed) closed(reason);
}

Status Client::call(std::string_view service, std::string_view method, std::string_view payload,
                    const CallOptions& options, std::string* response,
                    const std::function<bool()>& cancelled) {
  struct Outcome {
    std::mutex mutex;
    std::condition_variable arrived;
    bool done = false;
    Status status;
    std::string payload;
  };
  const auto outcome = std::make_shared<Outcome>();
  const CallId call =
      call_async(service, method, payload, options, [outcome](Status status, std::string bytes) {
        {
          const std::lock_guard lock(outcome->mutex);
          outcome->status = std::move(status);
          outcome->payload = std::move(bytes);
          outcome->done = true;
        }
        outcome->arrived.notify_all();  // who is woken needs the lock
      });
  std::unique_lock lock(outcome->mutex);
  while (!outcome->done) {
    if (!cancelled) {
      outcome->arrived.wait(lock);
    } else if (outcome->arrived.wait_for(lock, kCancelPoll) == std::cv_status::timeout) {
      lock.unlock();
      if (cancelled())
        cancel(call, berth::cancelled("ttrpc: call of " + std::string(service) + "/" +
                                      std::string(method) + ": context canceled"));
      lock.lock();
    }
  }
  if (outcome->status.ok() && response != nullptr) *response = std::move(outcome->payload);
  return outcome->status;
}

void Client::on_close(std::function<void(const Status&)> closed) {
  Status reason;
  {
    const std::lock_guard lock(mutex_);
    if (!ended_) {
      on_close_.swap(closed);
      return;
    }
    reason = end_;
  }
  if (closed) closed(reason);
}

void Client::close() { connection_->close(unavailable("ttrpc: closed")); }

}  // namespace berth::ttrpc
