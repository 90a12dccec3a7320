// The server end of calls: what generated service classes are made of.
#pragma once

#include <berth/client.h>

#include <exception>

namespace berth {

/// Owns one unfinished call and must end it with finish() or forward(); one that is dropped ends as INTERNAL.
/// Movable; may move to another thread and be finished there later (ABI rules 1, 3, 6).
class ServerCall {
 public:
  explicit ServerCall(berth_call* raw) : raw_(raw) {}
  ServerCall(ServerCall&& other) noexcept : raw_(std::exchange(other.raw_, nullptr)) {}
  ServerCall& operator=(ServerCall&& other) noexcept {
    if (this != &other) {
      drop();
      raw_ = std::exchange(other.raw_, nullptr);
    }
    return *this;
  }
  ~ServerCall() { drop(); }

  /// Valid until the call is finished.
  Context context() const { return Context(raw_); }

  /// The one request of a method without client stream. Valid until the handler returns (ABI rule 1).
  std::string_view request_bytes() const {
    const berth_bytes body = detail::host->request(raw_);
    return {static_cast<const char*>(body.data), body.size};
  }
  template <typename T>
  Status parse_request(T* out) const {
    const std::string_view bytes = request_bytes();
    if (!out->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
      return invalid_argument("request of " + std::to_string(bytes.size()) +
                              " bytes is not a well-formed " + out->GetTypeName());
    }
    return {};
  }

  /// BERTH_OK, BERTH_AGAIN, BERTH_END (the client has no more) or BERTH_CANCELLED.
  int32_t recv(Message* out, int64_t timeout_ns = BERTH_FOREVER) {
    berth_message raw{};
    const int32_t outcome = detail::host->recv(raw_, timeout_ns, &raw);
    if (outcome == BERTH_OK) *out = Message(raw);
    return outcome;
  }
  /// BERTH_OK, BERTH_AGAIN or BERTH_CANCELLED.
  int32_t send(Message message, int64_t timeout_ns = BERTH_FOREVER) {
    const int32_t outcome = detail::host->send(raw_, &message.raw(), timeout_ns);
    if (outcome == BERTH_OK) message.released();
    return outcome;
  }
  /// Sends a message whose descriptors move with it on BERTH_OK; use only where the caller asked (ABI rule 14).
  int32_t send_with_fds(Message message, std::vector<UniqueFd> fds, int64_t timeout_ns = BERTH_FOREVER) {
    std::vector<int32_t> raw_fds;
    for (const UniqueFd& fd : fds) raw_fds.push_back(fd.get());
    berth_message raw = message.raw();
    raw.fds = raw_fds.data();
    raw.fd_count = static_cast<uint32_t>(raw_fds.size());
    const int32_t outcome = detail::host->send(raw_, &raw, timeout_ns);
    if (outcome == BERTH_OK) {
      message.released();
      for (UniqueFd& fd : fds) (void)fd.release();
    }
    return outcome;
  }
  void on_ready(uint32_t what, berth_callback run, void* context) {
    detail::host->on_ready(raw_, what, run, context);
  }
  /// Runs inline when the call is cancelled or times out; at once if it has been. nullptr takes it back.
  void on_cancel(berth_callback run, void* context) { detail::host->on_cancel(raw_, run, context); }
  bool cancelled() const { return detail::host->cancelled(raw_) != 0; }

  /// Ends the call without a response: a failure, or the end of a server stream.
  void finish(const Status& status) {
    const berth_status raw = borrow(status);
    detail::host->finish(std::exchange(raw_, nullptr), &raw, nullptr);
  }
  /// Ends a call without server stream.
  template <typename T>
  void finish(const Status& status, const T& response) {
    if (!status.ok()) return finish(status);
    Message message = Message::of(response);
    if (!message.has_memory()) return finish(no_memory());
    detail::host->finish(std::exchange(raw_, nullptr), nullptr, &message.raw());
    message.released();
  }
  /// The same for a response that is on the wire form already.
  void finish(Message response) {
    detail::host->finish(std::exchange(raw_, nullptr), nullptr, &response.raw());
    response.released();
  }
  /// Hands the rest of the call, with its request as it is, to another plugin. Only before the handler returns; later,
  /// give the request along.
  void forward(Target target, uint32_t method, const Context& context = Context()) {
    forward_message(target, method, nullptr, context);
  }
  /// The same with another request.
  template <typename T>
  void forward(Target target, uint32_t method, const T& request, const Context& context = Context()) {
    Message message = Message::of(request);
    if (!message.has_memory()) return finish(no_memory());
    forward_message(target, method, &message, context);
  }
  explicit operator bool() const { return raw_ != nullptr; }

  /// What a call ends with that has an answer and no memory to send it in.
  static Status no_memory() {
    return resource_exhausted("no memory for a message: try again later, or give the daemon more");
  }

 private:
  void forward_message(Target target, uint32_t method, Message* request, const Context& context) {
    if (!target || method == BERTH_NO_METHOD) {
      return finish(unimplemented("forward of a call: " +
                                  (target ? std::string(target.property("uri")) + " does not serve the method"
                                          : std::string("not connected to any plugin"))));
    }
    const CallOptions options(context);
    const int32_t outcome = detail::host->forward(
        raw_, target.raw(), method, request == nullptr ? nullptr : &request->raw(),
        options.raw()->headers, options.raw()->header_count);
    if (outcome != BERTH_OK) {
      return finish(internal_error("forward of a call to " + std::string(target.property("uri")) +
                                   " was refused: a method of another shape, or its request is gone"));
    }
    if (request != nullptr) request->released();
    raw_ = nullptr;
  }
  void drop() {
    if (raw_ != nullptr) finish(internal_error("the handler dropped the call without an answer"));
  }

  berth_call* raw_;
};

/// Sends the responses of a server stream, from the handler's thread.
template <typename Response>
class ServerWriter {
 public:
  explicit ServerWriter(ServerCall* call) : call_(call) {}
  /// Waits for room. False when the call was cancelled, or memory is gone: return then.
  bool Write(const Response& response) {
    Message message = Message::of(response);
    if (!message.has_memory()) status_ = ServerCall::no_memory();
    return status_.ok() && call_->send(std::move(message)) == BERTH_OK;
  }
  ServerCall& call() { return *call_; }
  /// Not OK when the call has to fail whatever the handler returns.
  const Status& status() const { return status_; }

 protected:
  ServerCall* call_;
  Status status_;
};

/// Receives requests and sends responses, from the handler's thread.
template <typename Request, typename Response>
class ServerStream : public ServerWriter<Response> {
 public:
  using RequestType = Request;
  using ResponseType = Response;
  using ServerWriter<Response>::ServerWriter;
  /// The next request; false when there are no more, on cancellation, and on a malformed one (see status()).
  bool Read(Request* out) {
    Message message;
    if (this->call_->recv(&message) != BERTH_OK) return false;
    this->status_ = message.parse(out);
    return this->status_.ok();
  }
};

/// A protobuf service of a plugin. Generated classes derive from it.
class Service {
 public:
  virtual ~Service() = default;
  /// Serves one call; `method` indexes the service's methods. Any thread.
  virtual void handle(uint32_t method, ServerCall call) = 0;
};

namespace detail {

/// Runs a lifecycle step or handler; what it throws becomes a Status.
template <typename F>
Status guarded(const F& step) {
  try {
    return step();
  } catch (const std::exception& error) {
    return internal_error(std::string("exception: ") + error.what());
  } catch (...) {
    return internal_error("exception of an unknown type");
  }
}

template <typename Request, typename Response, typename Handler>
void serve_unary(ServerCall call, const Handler& handler) {
  Request request;
  if (Status parsed = call.parse_request(&request); !parsed.ok()) return call.finish(parsed);
  Response response;
  Context context = call.context();
  const Status status = guarded([&] { return handler(context, request, &response); });
  call.finish(status, response);
}

template <typename Request, typename Response, typename Handler>
void serve_server_stream(ServerCall call, const Handler& handler) {
  Request request;
  if (Status parsed = call.parse_request(&request); !parsed.ok()) return call.finish(parsed);
  Context context = call.context();
  ServerWriter<Response> writer(&call);
  const Status status = guarded([&] { return handler(context, request, writer); });
  call.finish(writer.status().ok() ? status : writer.status());
}

template <typename Request, typename Response, typename Handler>
void serve_stream(ServerCall call, const Handler& handler) {
  Context context = call.context();
  ServerStream<Request, Response> stream(&call);
  const Status status = guarded([&] { return handler(context, stream); });
  call.finish(stream.status().ok() ? status : stream.status());
}

template <typename Request, typename Response, typename Handler>
void serve_client_stream(ServerCall call, const Handler& handler) {
  Context context = call.context();
  ServerStream<Request, Response> stream(&call);
  Response response;
  const Status status = guarded([&] { return handler(context, stream, &response); });
  call.finish(stream.status().ok() ? status : stream.status(), response);
}

}  // namespace detail
}  // namespace berth
