// Calls to other plugins: what generated clients are made of.
#pragma once

#include <berth/context.h>

#include <functional>
#include <memory>

namespace berth {

/// A plugin that one is connected to. A value; lives as long as the process. Any thread.
class Target {
 public:
  Target() = default;
  explicit Target(berth_target* raw) : raw_(raw) {}
  explicit operator bool() const { return raw_ != nullptr; }
  berth_target* raw() const { return raw_; }
  /// "uri", "type", "id" or "capabilities".
  std::string_view property(std::string_view name) const {
    return view(detail::host->target_property(raw_, str(name)));
  }
  std::string_view id() const { return property("id"); }
  /// BERTH_NO_METHOD when the plugin does not serve "package.Service/Method".
  uint32_t resolve(std::string_view method) const {
    return raw_ == nullptr ? BERTH_NO_METHOD : detail::host->resolve(raw_, str(method));
  }

 private:
  berth_target* raw_ = nullptr;
};

/// The client end of a call; cancels and releases it when destroyed. Movable. Sending and receiving are each serial.
class ClientCall {
 public:
  ClientCall() = default;
  explicit ClientCall(berth_client* raw) : raw_(raw) {}
  ClientCall(ClientCall&& other) noexcept : raw_(std::exchange(other.raw_, nullptr)) {}
  ClientCall& operator=(ClientCall&& other) noexcept {
    if (this != &other) {
      release();
      raw_ = std::exchange(other.raw_, nullptr);
    }
    return *this;
  }
  ~ClientCall() { release(); }

  static ClientCall open(Target target, uint32_t method, const Context& context) {
    const CallOptions options(context);
    return ClientCall(detail::host->open(target.raw(), method, options.raw()));
  }

  /// BERTH_OK, BERTH_AGAIN or BERTH_CANCELLED.
  int32_t send(Message message, int64_t timeout_ns = BERTH_FOREVER) {
    const int32_t outcome = detail::host->client_send(raw_, &message.raw(), timeout_ns);
    if (outcome == BERTH_OK) message.released();
    return outcome;
  }
  void half_close() { detail::host->client_half_close(raw_); }
  /// BERTH_OK, BERTH_AGAIN or BERTH_END.
  int32_t recv(Message* out, int64_t timeout_ns = BERTH_FOREVER) {
    berth_message raw{};
    const int32_t outcome = detail::host->client_recv(raw_, timeout_ns, &raw);
    if (outcome == BERTH_OK) *out = Message(raw);
    return outcome;
  }
  void on_ready(uint32_t what, berth_callback run, void* context) {
    detail::host->client_on_ready(raw_, what, run, context);
  }
  void cancel() { detail::host->client_cancel(raw_); }
  /// Waits for the end of the call, dropping what is still received, and returns its status.
  Status finish() {
    Message dropped;
    while (recv(&dropped) == BERTH_OK) {
    }
    berth_status status{};
    if (detail::host->client_status(raw_, &status) == 0) {
      return internal_error("a call ended without a status");
    }
    return to_status(status);
  }
  berth_client* raw() const { return raw_; }

 private:
  void release() {
    if (raw_ != nullptr) detail::host->client_release(std::exchange(raw_, nullptr));
  }
  berth_client* raw_ = nullptr;
};

/// Receives the responses of a server stream.
template <typename Response>
class ClientReader {
 public:
  explicit ClientReader(ClientCall call) : call_(std::move(call)) {}
  /// The next response; false at the end of the stream or on failure, both told apart by Finish().
  bool Read(Response* out) {
    Message message;
    if (!read_message(&message)) return false;
    parse_status_ = message.parse(out);
    return parse_status_.ok();
  }
  /// The next response as bytes, with its descriptors.
  bool read_message(Message* out) { return call_.recv(out) == BERTH_OK; }
  void cancel() { call_.cancel(); }
  Status Finish() {
    if (!parse_status_.ok()) return parse_status_;
    return call_.finish();
  }

 protected:
  ClientCall call_;
  Status parse_status_;
};

/// Sends any number of requests and receives any number of responses.
template <typename Request, typename Response>
class ClientStream : public ClientReader<Response> {
 public:
  using ClientReader<Response>::ClientReader;
  /// False when the call has ended; Finish() says why.
  bool Write(const Request& request) {
    Message message = Message::of(request);
    if (!message.has_memory()) this->call_.cancel();
    return message.has_memory() && this->call_.send(std::move(message)) == BERTH_OK;
  }
  void WritesDone() { this->call_.half_close(); }
};

namespace detail {

template <typename Request, typename Response>
Status unary(Target target, uint32_t method, std::string_view name, const Context& context,
             const Request& request, Response* response) {
  if (!target) return unavailable("call of " + std::string(name) + ": not connected to any plugin");
  const CallOptions options(context);
  const Message message = Message::of(request);
  if (!message.has_memory()) {
    return resource_exhausted("call of " + std::string(name) + ": no memory for the request");
  }
  ClientCall call(host->unary(target.raw(), method, options.raw(), &message.raw()));
  berth_status status{};
  if (host->client_status(call.raw(), &status) == 0) {
    return internal_error("call of " + std::string(name) + " returned before it ended");
  }
  if (status.code != 0) return to_status(status);
  Message reply;
  if (call.recv(&reply, 0) != BERTH_OK) {
    return internal_error("call of " + std::string(name) + " succeeded without a response");
  }
  return reply.parse(response);
}

/// Opens a call without client stream and sends its one request.
template <typename Request>
ClientCall open_with(Target target, uint32_t method, const Context& context,
                     const Request& request) {
  ClientCall call = ClientCall::open(target, method, context);
  Message message = Message::of(request);
  if (!message.has_memory()) {
    call.cancel();  // rather than ask for something else
    return call;
  }
  (void)call.send(std::move(message));  // a refusal is the status of the call
  call.half_close();
  return call;
}

/// Waits for one response without holding a thread; deletes itself after `done`.
template <typename Response>
class AsyncUnary {
 public:
  using Done = std::function<void(Status, Response)>;
  template <typename Request>
  static void begin(Target target, uint32_t method, const Context& context, const Request& request,
                    Done done) {
    auto* self = new AsyncUnary(std::move(done));  // owned by the callback below
    self->call_ = open_with(target, method, context, request);
    self->call_.on_ready(BERTH_READABLE, &AsyncUnary::ready, self);
  }

 private:
  explicit AsyncUnary(Done done) : done_(std::move(done)) {}
  static void ready(void* context) {
    std::unique_ptr<AsyncUnary> self(static_cast<AsyncUnary*>(context));
    Response response;
    Message message;
    Status parsed;
    if (self->call_.recv(&message, 0) == BERTH_OK) parsed = message.parse(&response);
    Status status = self->call_.finish();
    self->done_(status.ok() ? parsed : status, std::move(response));
  }
  Done done_;
  ClientCall call_;
};

}  // namespace detail
}  // namespace berth
