#include "bus/call.h"

#include <berth/context.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>

#include "bus/current_plugin.h"
#include "bus/inline_callbacks.h"
#include "bus/workers.h"

namespace berth::bus {
namespace {

/// How long after its deadline a handler may still run before it is reported by name.
constexpr int64_t kWatchdogGrace = 5'000'000'000;

void discard(berth_message& message) {
  for (uint32_t i = 0; i < message.fd_count; ++i) ::close(message.fds[i]);
  if (message.body.release != nullptr) message.body.release(message.body.owner);
  message = {};
}

/// Memory, body and descriptor numbers in one block, so that a copied message has one release hook.
berth_message owned_copy(const berth_message& message) {
  const uint64_t fd_bytes = message.fd_count * sizeof(int32_t);
  const uint64_t body_at = (fd_bytes + 63) & ~63ULL;
  auto* block = static_cast<char*>(detail::host->alloc(body_at + message.body.size + 1));
  if (fd_bytes != 0) std::memcpy(block, message.fds, fd_bytes);
  if (message.body.size != 0) std::memcpy(block + body_at, message.body.data, message.body.size);
  berth_message copy{};
  copy.body = {block + body_at, message.body.size, detail::host->dealloc, block, 0};
  copy.fds = reinterpret_cast<const int32_t*>(block);
  copy.fd_count = message.fd_count;
  return copy;
}

/// A message that outlives the slot it came through: moved where it has a release hook and no
/// descriptors (the array of their numbers is borrowed), else copied.
berth_message keep(const berth_message& message) {
  if (message.body.release != nullptr && message.fd_count == 0) return message;
  berth_message copy = owned_copy(message);
  if (message.body.release != nullptr) message.body.release(message.body.owner);
  return copy;
}

uint64_t charge_of(const berth_message& message) {
  return message.body.size + BERTH_MESSAGE_CHARGE;
}

template <typename Condition>
bool wait_until(std::condition_variable& changed, std::unique_lock<std::mutex>& lock,
                int64_t timeout_ns, const Condition& condition) {
  if (condition()) return true;
  if (timeout_ns <= 0) return false;
  if (timeout_ns == BERTH_FOREVER) {
    changed.wait(lock, condition);
    return true;
  }
  return changed.wait_for(lock, std::chrono::nanoseconds(timeout_ns), condition);
}

}  // namespace

Call::Call(Target& target, const Method& method, CallSettings settings)
    : target_(&target), method_(&method), settings_(std::move(settings)), began_(monotonic_now()) {}

Call::~Call() {
  discard(request_);
  for (Pipe* pipe : {&up_, &down_}) {
    for (berth_message& message : pipe->queue) discard(message);
  }
}

std::string Call::describe() const {
  return method().full_name() + " at " + target().identity().uri;
}

// -- beginning
// ---------------------------------------------------------------------------------------------------

namespace {
const Method& no_method() {
  static const auto* method = new Method{"(unknown service)", "(unknown method)", 0, 0, 0, {}};
  return *method;
}
}  // namespace

void Call::begin() {
  if (settings_.parent == nullptr) return;
  Call& parent = *settings_.parent;
  CallRef::share(&parent).release();  // kept until detach_from_parent()
  std::unique_lock lock(parent.mutex_);
  parent.children_.push_back(this);
  const bool over = parent.ended_ && parent.cancelled_.load();
  lock.unlock();
  if (over) end(berth::cancelled("the call on whose behalf " + describe() + " was made is over"));
}

Status Call::refusal() const {
  // Work that nobody waits for any more is not begun.
  if (settings_.deadline <= began_) {
    return deadline_exceeded("call of " + describe() + ": its deadline had passed before it began");
  }
  return target().availability();
}

CallRef Call::open(Target& target, uint32_t method_index, CallSettings settings) {
  const Method* found = target.method(method_index);
  auto call = CallRef::adopt(
      new Call(target, found == nullptr ? no_method() : *found, std::move(settings)));
  call->begin();
  if (found == nullptr) {
    call->end(unimplemented("plugin " + target.identity().uri + " does not serve the method"));
  } else if (Status refused = call->refusal(); !refused.ok()) {
    call->end(refused);
  } else {
    call->start_deadline();
    if (found->client_stream()) call->dispatch(false);
  }
  return call;
}

CallRef Call::unary(Target& target, uint32_t method_index, CallSettings settings,
                    const berth_message& request) {
  const Method* found = target.method(method_index);
  auto call = CallRef::adopt(
      new Call(target, found == nullptr ? no_method() : *found, std::move(settings)));
  call->begin();
  if (found == nullptr) {
    call->end(unimplemented("plugin " + target.identity().uri + " does not serve the method"));
    return call;
  }
  if (found->client_stream() || found->server_stream()) {
    call->end(internal_error(call->describe() + " is a stream and was called as unary"));
    return call;
  }
  if (Status refused = call->refusal(); !refused.ok()) {
    call->end(refused);
    return call;
  }
  call->request_ = request;
  call->request_.body.release = nullptr;
  call->request_.fd_count = 0;
  call->request_given_ = true;
  call->request_borrowed_ = true;
  call->bytes_in_ = request.body.size;
  call->dispatch(true);

  std::unique_lock lock(call->mutex_);
  if (!call->ended_) {
    lock.unlock();
    call->start_deadline();
    lock.lock();
    call->changed_.wait(lock, [&] { return call->ended_; });
  }
  return call;
}

void Call::dispatch(bool this_thread_may_block) {
  // The plugin may have been stopped since the call was opened, and must not see it then (ABI rule
  // 11).
  if (!target().enter(this)) return end(target().availability());
  {
    std::unique_lock lock(mutex_);
    if (ended_) {
      lock.unlock();
      target().leave(this);
      return;
    }
    dispatched_ = true;
  }
  CallRef::share(this).release();  // the server end's reference, dropped by finish
  if (method().no_block() || (this_thread_may_block && !EventScope::active())) {
    run_handler();
    return;
  }
  {
    // Another thread takes over; what was borrowed from this one must be kept.
    const std::lock_guard lock(mutex_);
    if (request_borrowed_) {
      request_ = owned_copy(request_);
      request_borrowed_ = false;
    }
  }
  if (!workers().spawn([this] { run_handler(); })) {
    const Status refused = resource_exhausted("call of " + describe() +
                                              ": too many calls are running; try again later");
    const berth_status raw = borrow(refused);
    finish(&raw, nullptr);
  }
}

void Call::run_handler() {
  const CallRef alive = CallRef::share(this);
  {
    const std::lock_guard lock(mutex_);
    in_handler_ = true;
  }
  // Kept apart from the call, which may have gone to another plugin before the handler returns.
  const Target& own = target();
  const Method& called = method();
  const CurrentPlugin current(own.identity().uri, called.name);
  own.handle(called, reinterpret_cast<berth_call*>(this));
  const std::lock_guard lock(mutex_);
  in_handler_ = false;
}

// -- moving messages
// ---------------------------------------------------------------------------------------------

bool Call::readable(const Pipe& pipe) const { return !pipe.queue.empty() || pipe.closed || ended_; }
bool Call::writable(const Pipe& pipe) const {
  // Room for what was refused, or a writer that is told so and tries again would do nothing else.
  return pipe.charge + std::max<uint64_t>(pipe.refused, 1) <= kWindow || pipe.queue.empty() ||
         pipe.closed || ended_;
}

int32_t Call::put(Pipe& pipe, End end, const berth_message& message, int64_t timeout_ns) {
  std::unique_lock lock(mutex_);
  const auto room = [&] {
    return ended_ || pipe.closed || pipe.queue.empty() ||
           pipe.charge + charge_of(message) <= kWindow;
  };
  if (!wait_until(changed_, lock, timeout_ns, room)) {
    pipe.refused = charge_of(message);
    return BERTH_AGAIN;
  }
  if (ended_ || pipe.closed) return BERTH_CANCELLED;
  pipe.refused = 0;
  pipe.charge += charge_of(message);
  (end == kClient ? bytes_in_ : bytes_out_) += message.body.size;
  pipe.queue.push_back(keep(message));
  std::vector<Due> due;
  collect_due(&due);
  changed_.notify_all();
  lock.unlock();
  fire(std::move(due));
  return BERTH_OK;
}

int32_t Call::take(Pipe& pipe, End end, int64_t timeout_ns, berth_message* out) {
  std::unique_lock lock(mutex_);
  if (!wait_until(changed_, lock, timeout_ns, [&] { return readable(pipe); })) return BERTH_AGAIN;
  if (end == kServer && ended_) return BERTH_CANCELLED;
  if (pipe.queue.empty()) return BERTH_END;
  *out = pipe.queue.front();
  pipe.queue.pop_front();
  pipe.charge -= charge_of(*out);
  std::vector<Due> due;
  collect_due(&due);
  changed_.notify_all();
  lock.unlock();
  fire(std::move(due));
  return BERTH_OK;
}

int32_t Call::client_send(const berth_message& message, int64_t timeout_ns) {
  if (method().client_stream()) return put(up_, kClient, message, timeout_ns);
  {
    const std::lock_guard lock(mutex_);
    if (ended_) return BERTH_CANCELLED;
    if (request_given_) return BERTH_REFUSED;
    request_ = keep(message);
    request_given_ = true;
    bytes_in_ = message.body.size;
  }
  dispatch(false);
  return BERTH_OK;
}

void Call::client_half_close() {
  std::unique_lock lock(mutex_);
  up_.closed = true;
  const bool nothing_asked = !method().client_stream() && !request_given_ && !ended_;
  std::vector<Due> due;
  collect_due(&due);
  changed_.notify_all();
  lock.unlock();
  fire(std::move(due));
  if (nothing_asked) end(invalid_argument("call of " + describe() + " without a request"));
}

int32_t Call::client_recv(int64_t timeout_ns, berth_message* out) {
  return take(down_, kClient, timeout_ns, out);
}
int32_t Call::server_recv(int64_t timeout_ns, berth_message* out) {
  return take(up_, kServer, timeout_ns, out);
}
int32_t Call::server_send(const berth_message& message, int64_t timeout_ns) {
  if (!method().server_stream()) return BERTH_REFUSED;
  return put(down_, kServer, message, timeout_ns);
}
berth_bytes Call::request() const {
  berth_bytes body = request_.body;
  body.release = nullptr;
  return body;
}

// -- callbacks
// ---------------------------------------------------------------------------------------------------

void Call::collect_due(std::vector<Due>* due) {
  const auto check = [&](Callback& callback, End end, bool is_due) {
    if (callback.run != nullptr && is_due) due->push_back({end, std::exchange(callback, {})});
  };
  check(down_.reader_ready, kClient, readable(down_));
  check(up_.writer_ready, kClient, writable(up_));
  check(up_.reader_ready, kServer, readable(up_));
  check(down_.writer_ready, kServer, writable(down_));
}

void Call::fire(std::vector<Due> due) {
  for (const Due& one : due) {
    const auto run = [call = CallRef::share(this), one] {
      call->run_callback(one.end, one.callback);
    };
    if (one.callback.on_this_thread) {
      run_inline(run);
    } else {
      workers().spawn_unlimited(run);
    }
  }
}

void Call::run_callback(End end, const Callback& callback) {
  {
    const std::lock_guard lock(mutex_);
    if (end == kClient ? client_done_ : server_done_) return;  // its context may be gone
    running_.push_back({std::this_thread::get_id(), end});
  }
  callback.run(callback.context);
  const std::lock_guard lock(mutex_);
  const auto own = std::find_if(running_.begin(), running_.end(), [&](const Running& running) {
    return running.end == end && running.thread == std::this_thread::get_id();
  });
  running_.erase(own);
  changed_.notify_all();
}

void Call::wait_for_callbacks(std::unique_lock<std::mutex>& lock, End end) {
  changed_.wait(lock, [&] {
    return std::none_of(running_.begin(), running_.end(), [&](const Running& running) {
      return running.end == end && running.thread != std::this_thread::get_id();
    });
  });
}

void Call::arm(Pipe& pipe, End end, bool reader, const Callback& callback) {
  std::unique_lock lock(mutex_);
  (reader ? pipe.reader_ready : pipe.writer_ready) = callback;
  std::vector<Due> due;
  if (end == kClient ? client_done_ : server_done_) return;
  collect_due(&due);
  lock.unlock();
  fire(std::move(due));
}

void Call::client_on_ready(uint32_t what, berth_callback run, void* context) {
  const Callback callback{run, context, (what & BERTH_INLINE) != 0};
  if ((what & BERTH_READABLE) != 0) {
    arm(down_, kClient, true, callback);
  } else {
    arm(up_, kClient, false, callback);
  }
}

void Call::server_on_ready(uint32_t what, berth_callback run, void* context) {
  const Callback callback{run, context, (what & BERTH_INLINE) != 0};
  if ((what & BERTH_READABLE) != 0) {
    arm(up_, kServer, true, callback);
  } else {
    arm(down_, kServer, false, callback);
  }
}

void Call::on_cancel(berth_callback run, void* context) {
  std::unique_lock lock(mutex_);
  if (server_done_) return;
  const Callback callback{run, context, true};
  if (run != nullptr && cancelled_.load()) {
    lock.unlock();
    fire({{kServer, callback}});
    return;
  }
  cancel_callback_ = callback;
  if (run == nullptr) wait_for_callbacks(lock, kServer);
}

// -- ending
// ------------------------------------------------------------------------------------------------------

/// With the lock held. What the client has not received stays, unless the host cuts the call off.
void Call::mark_ended(const Status& status) {
  ended_ = true;
  status_ = status;
  down_.closed = true;
}

void Call::end(const Status& status) {
  const CallRef alive = CallRef::share(this);
  std::unique_lock lock(mutex_);
  if (ended_) return;
  mark_ended(status);
  cancelled_.store(true, std::memory_order_release);
  for (Pipe* pipe : {&up_, &down_}) {
    for (berth_message& message : pipe->queue) discard(message);
    pipe->queue.clear();
    pipe->charge = 0;
  }
  std::vector<Due> due;
  collect_due(&due);
  if (cancel_callback_.run != nullptr) {
    due.push_back({kServer, std::exchange(cancel_callback_, {})});
  }
  std::vector<CallRef> children;
  for (Call* child : children_) children.push_back(CallRef::share(child));
  const bool never_handled = !dispatched_;
  changed_.notify_all();
  lock.unlock();

  if (never_handled) {
    stop_deadline();
    detach_from_parent();
    method().statistics.count(monotonic_now() - began_, true, bytes_in_, bytes_out_);
  }
  fire(std::move(due));
  for (const CallRef& child : children) child->end(status);
}

void Call::finish(const berth_status* status, const berth_message* response) {
  const CallRef server_end = CallRef::adopt(this);
  std::unique_lock lock(mutex_);
  const bool failed = status != nullptr && status->code != 0;
  std::vector<Due> due;
  if (!ended_) {
    if (!failed && response != nullptr && !method().server_stream()) {
      bytes_out_ += response->body.size;
      down_.queue.push_back(keep(*response));
      down_.charge += charge_of(down_.queue.back());
      response = nullptr;
    }
    mark_ended(status == nullptr ? Status() : to_status(*status));
    collect_due(&due);
  }
  const bool is_error = !status_.ok();
  server_done_ = true;
  cancel_callback_ = {};
  up_.reader_ready = {};
  down_.writer_ready = {};
  changed_.notify_all();
  wait_for_callbacks(lock, kServer);
  lock.unlock();

  if (response != nullptr) {
    berth_message unused = *response;
    discard(unused);
  }
  stop_deadline();
  detach_from_parent();
  method().statistics.count(monotonic_now() - began_, is_error, bytes_in_, bytes_out_);
  target().leave(this);
  fire(std::move(due));
}

int32_t Call::forward(Target& next, uint32_t method_index, const berth_message* request,
                      const berth_header* headers, uint32_t header_count) {
  const Method* next_method = next.method(method_index);
  constexpr uint32_t kShape = BERTH_METHOD_CLIENT_STREAM | BERTH_METHOD_SERVER_STREAM;
  if (next_method == nullptr || ((next_method->flags ^ method().flags) & kShape) != 0) {
    return BERTH_REFUSED;
  }
  {
    std::unique_lock lock(mutex_);
    if (request == nullptr && request_borrowed_ && !in_handler_) return BERTH_REFUSED;
    cancel_callback_ = {};
    up_.reader_ready = {};
    down_.writer_ready = {};
    wait_for_callbacks(lock, kServer);
    if (request != nullptr) {
      if (!request_borrowed_) discard(request_);
      request_ = keep(*request);
      request_borrowed_ = false;
    }
    settings_.headers = Headers::derive(settings_.headers, headers, header_count);
  }
  method().statistics.count(monotonic_now() - began_, false, bytes_in_, bytes_out_);
  target().leave(this);
  const CallRef former_server_end = CallRef::adopt(this);
  {
    // Until the next plugin has it the call has no server end, as at its beginning.
    const std::lock_guard lock(mutex_);
    dispatched_ = false;
    target_ = &next;
    method_ = next_method;
  }
  if (Status available = next.availability(); !available.ok()) end(available);
  bool over = false;
  {
    const std::lock_guard lock(mutex_);
    over = ended_;
  }
  if (over) {
    stop_deadline();
    detach_from_parent();
  } else {
    dispatch(true);
  }
  return BERTH_OK;
}

void Call::client_release() {
  if (status() == nullptr) {
    end(berth::cancelled("call of " + describe() + ": cancelled by the caller"));
  }
  std::unique_lock lock(mutex_);
  client_done_ = true;
  down_.reader_ready = {};
  up_.writer_ready = {};
  wait_for_callbacks(lock, kClient);
  for (berth_message& message : down_.queue) discard(message);
  down_.queue.clear();
}

const Status* Call::status() const {
  const std::lock_guard lock(mutex_);
  return ended_ ? &status_ : nullptr;
}

void Call::detach_from_parent() {
  Call* parent = nullptr;
  {
    const std::lock_guard lock(mutex_);
    parent = std::exchange(settings_.parent, nullptr);
  }
  if (parent == nullptr) return;
  const CallRef reference = CallRef::adopt(parent);
  const std::lock_guard lock(parent->mutex_);
  std::erase(parent->children_, this);
}

// -- deadlines
// ---------------------------------------------------------------------------------------------------

void Call::start_deadline() {
  if (settings_.deadline == BERTH_FOREVER) return;
  const std::lock_guard lock(mutex_);
  if (server_done_ || timer_) return;
  timer_ =
      timers().add(settings_.deadline, [call = CallRef::share(this)] { call->deadline_passed(); });
}

void Call::stop_deadline() {
  std::optional<Timers::Id> timer;
  {
    const std::lock_guard lock(mutex_);
    timer = std::exchange(timer_, std::nullopt);
  }
  if (timer) timers().remove(*timer);
}

void Call::deadline_passed() {
  const double seconds = static_cast<double>(settings_.deadline - began_) / 1e9;
  end(deadline_exceeded(fmt::format(
      "call of {}: deadline exceeded after {:.3g} s; what was asked for may still be done: "
      "look, and ask again with more time. `berthctl plugin why {}` says how the plugin is",
      describe(), seconds, target().identity().uri)));
  const std::lock_guard lock(mutex_);
  if (server_done_ || !dispatched_) return;
  timer_ = timers().add(monotonic_now() + kWatchdogGrace, [call = CallRef::share(this)] {
    const std::lock_guard inner(call->mutex_);
    if (!call->server_done_) {
      spdlog::warn("handler of {} ignores its deadline, which passed {} s ago", call->describe(),
                   kWatchdogGrace / 1'000'000'000);
    }
  });
}

}  // namespace berth::bus
