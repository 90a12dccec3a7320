// One call: two ends, a pipe each way, a status. The bus is made of these.
#pragma once

#include <berth/abi.h>
#include <berth/message.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "bus/headers.h"
#include "bus/target.h"
#include "bus/timers.h"

namespace berth::bus {

/// Bytes, with BERTH_MESSAGE_CHARGE per message, that may wait in one direction of a call (ABI rule
/// 9). A message larger than that is taken when nothing else waits.
inline constexpr uint64_t kWindow = 4ULL << 20;

class CallRef;

/// How a call is made, in the host's own terms.
struct CallSettings {
  Headers::Shared headers = Headers::none();
  int64_t deadline = BERTH_FOREVER;
  berth_peer peer{sizeof(berth_peer), 0, 0, 0, 0};
  Call* parent = nullptr;  // cancelled together with it
};

/// Reference-counted by its ends, by callbacks under way and by timers. All functions may be called
/// from any thread within the rules of abi.h; those marked (others) may run foreign code on the
/// calling thread.
class Call {
 public:
  /// Begins a call; a refusal shows as an ended call. (others) The reference is the client end's.
  static CallRef open(Target& target, uint32_t method, CallSettings settings);
  /// A whole call without streams on the caller's thread; ended on return. The request is borrowed.
  /// (others)
  static CallRef unary(Target& target, uint32_t method, CallSettings settings,
                       const berth_message& request);

  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // -- the client end --
  int32_t client_send(const berth_message& message, int64_t timeout_ns);  // (others)
  void client_half_close();                                               // (others)
  int32_t client_recv(int64_t timeout_ns, berth_message* out);            // (others)
  void client_on_ready(uint32_t what, berth_callback run, void* context);
  /// The status once the call has ended; nullptr before. Valid as long as the call.
  const Status* status() const;
  /// The client end is given up: cancels, and waits for its running callback. Does not drop the
  /// reference. (others)
  void client_release();

  // -- the server end --
  const Headers& headers() const { return *settings_.headers; }
  int64_t deadline() const { return settings_.deadline; }
  const berth_peer& peer() const { return settings_.peer; }
  bool cancelled() const { return cancelled_.load(std::memory_order_acquire); }
  void on_cancel(berth_callback run, void* context);
  berth_bytes request() const;
  int32_t server_recv(int64_t timeout_ns, berth_message* out);            // (others)
  int32_t server_send(const berth_message& message, int64_t timeout_ns);  // (others)
  void server_on_ready(uint32_t what, berth_callback run, void* context);
  void finish(const berth_status* status, const berth_message* response);  // (others)
  int32_t forward(Target& target, uint32_t method, const berth_message* request,
                  const berth_header* headers, uint32_t header_count);  // (others)
  const CallSettings& settings() const { return settings_; }
  bool is_client_stream() const { return method().client_stream(); }

  // -- the host --
  /// Ends the call from the host's side; handler and client both see it. A call that has ended
  /// stays as it is. (others)
  void end(const Status& status);
  /// "containerd.services.x.v1.X/Y at io.containerd.….y", for messages.
  std::string describe() const;

 private:
  friend class CallRef;
  friend class Target;

  enum End : uint32_t { kClient = 0, kServer = 1 };

  struct Callback {
    berth_callback run = nullptr;
    void* context = nullptr;
    bool on_this_thread = false;
  };
  /// What travels in one direction.
  struct Pipe {
    std::deque<berth_message> queue;
    uint64_t charge = 0;
    uint64_t refused = 0;  // charge of the message that there was no room for; 0: none
    bool closed = false;   // no more will be put in
    Callback reader_ready;
    Callback writer_ready;
  };
  /// Callbacks that became due under the lock and run after it.
  struct Due {
    End end;
    Callback callback;
  };

  Call(Target& target, const Method& method, CallSettings settings);
  ~Call();

  Target& target() const { return *target_.load(); }
  const Method& method() const { return *method_.load(); }
  void begin();
  void dispatch(bool this_thread_may_block);
  void run_handler();
  int32_t put(Pipe& pipe, End end, const berth_message& message, int64_t timeout_ns);
  int32_t take(Pipe& pipe, End end, int64_t timeout_ns, berth_message* out);
  void arm(Pipe& pipe, End end, bool reader, const Callback& callback);
  bool readable(const Pipe& pipe) const;
  bool writable(const Pipe& pipe) const;
  void collect_due(std::vector<Due>* due);
  void fire(std::vector<Due> due);
  void run_callback(End end, const Callback& callback);
  void wait_for_callbacks(std::unique_lock<std::mutex>& lock, End end);
  void mark_ended(const Status& status);
  /// Why the call does not begin at all; OK when it does.
  Status refusal() const;
  void start_deadline();
  void stop_deadline();
  void deadline_passed();
  void detach_from_parent();

  struct Link {
    Call* next = nullptr;
    Call* previous = nullptr;
  };

  std::atomic<uint32_t> references_{1};
  std::atomic<Target*> target_;  // changes when the call is forwarded
  std::atomic<const Method*> method_;
  CallSettings settings_;
  int64_t began_;
  Link link_;  // guarded by the target's mutex

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Pipe up_;                  // requests
  Pipe down_;                // responses
  berth_message request_{};  // of a method without client stream
  bool request_given_ = false;
  bool request_borrowed_ = false;
  bool in_handler_ = false;
  bool dispatched_ = false;   // a server end exists
  bool ended_ = false;        // status_ is final
  bool server_done_ = false;  // the server end is dead
  bool client_done_ = false;  // the client end is dead
  std::atomic<bool> cancelled_{false};
  Status status_;
  Callback cancel_callback_;
  struct Running {
    std::thread::id thread;
    End end;
  };
  std::vector<Running> running_;  // callbacks on stacks now
  std::vector<Call*> children_;   // calls made on behalf of this one that have not ended
  std::optional<Timers::Id> timer_;
  uint64_t bytes_in_ = 0;
  uint64_t bytes_out_ = 0;
};

/// A counted reference.
class CallRef {
 public:
  CallRef() = default;
  /// Adopts a reference that is already counted.
  static CallRef adopt(Call* call) { return CallRef(call); }
  /// Counts one more.
  static CallRef share(Call* call) {
    call->references_.fetch_add(1, std::memory_order_relaxed);
    return CallRef(call);
  }
  CallRef(CallRef&& other) noexcept : call_(std::exchange(other.call_, nullptr)) {}
  CallRef& operator=(CallRef&& other) noexcept {
    if (this != &other) {
      reset();
      call_ = std::exchange(other.call_, nullptr);
    }
    return *this;
  }
  CallRef(const CallRef& other) : call_(other.call_) {
    if (call_ != nullptr) call_->references_.fetch_add(1, std::memory_order_relaxed);
  }
  CallRef& operator=(const CallRef&) = delete;
  ~CallRef() { reset(); }

  Call* operator->() const { return call_; }
  Call& operator*() const { return *call_; }
  Call* get() const { return call_; }
  /// Gives the counted reference up to a raw handle.
  Call* release() { return std::exchange(call_, nullptr); }
  explicit operator bool() const { return call_ != nullptr; }

 private:
  explicit CallRef(Call* call) : call_(call) {}
  void reset() {
    if (call_ != nullptr && call_->references_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      delete call_;
    }
    call_ = nullptr;
  }
  Call* call_ = nullptr;
};

}  // namespace berth::bus
