// The calling end of a ttrpc connection.
#pragma once

#include <berth/ttrpc/connection.h>
#include <berth/ttrpc/envelope.h>

namespace berth::ttrpc {

struct CallOptions {
  /// CLOCK_MONOTONIC in nanoseconds. The peer is told what is left of it.
  int64_t deadline_ns = INT64_MAX;
  Metadata metadata;
};

/// Makes unary calls, any number at once, from any thread. A connection that ends fails all calls
/// under way with UNAVAILABLE, message "ttrpc: closed", and all later ones; there is no
/// reconnecting.
class Client : public std::enable_shared_from_this<Client> {
 public:
  /// Runs once, on the loop's thread or, when the call fails at once, inside call_async(). Must not
  /// block.
  using Done = std::function<void(Status status, std::string payload)>;
  /// Names a call under way.
  using CallId = uint32_t;

  /// Connects to a unix socket. An accepting peer that is busy is waited for until `deadline_ns`;
  /// NOT_FOUND without a socket file, UNAVAILABLE when nobody listens.
  static Result<std::shared_ptr<Client>> connect(std::shared_ptr<Loop> loop,
                                                 const std::string& path,
                                                 int64_t deadline_ns = INT64_MAX);
  /// Takes over a connected stream socket.
  static Result<std::shared_ptr<Client>> over(std::shared_ptr<Loop> loop, UniqueFd socket);
  ~Client();

  /// `service` as "package.Service", `payload` a serialized message.
  CallId call_async(std::string_view service, std::string_view method, std::string_view payload,
                    const CallOptions& options, Done done);

  /// Ends a call under way with `reason`; the peer is not told (the protocol has no word for it).
  /// False when the call has ended already.
  bool cancel(CallId call, const Status& reason);

  /// Waits for the answer; not on the loop's thread. `cancelled`, if set, is asked every 20 ms or
  /// so.
  Status call(std::string_view service, std::string_view method, std::string_view payload,
              const CallOptions& options, std::string* response,
              const std::function<bool()>& cancelled = nullptr);

  /// `closed` runs once when the connection ends, whoever ended it, after the pending calls have
  /// failed; at once if it has ended. Replaces an earlier one.
  void on_close(std::function<void(const Status&)> closed);
  void close();
  bool closed() const { return connection_->closed(); }

 private:
  struct Pending {
    Done done;
    Loop::Id timer = 0;
  };

  Client(std::shared_ptr<Loop> loop, UniqueFd socket)
      : loop_(loop),
        connection_(std::make_shared<Connection>(std::move(loop), std::move(socket))) {}
  Status begin();
  void receive(Frame frame);
  void finish_all(const Status& reason);
  bool finish(CallId call, Status status, std::string payload);

  const std::shared_ptr<Loop> loop_;
  const std::shared_ptr<Connection> connection_;
  mutable std::mutex mutex_;  // guards what follows
  bool ended_ = false;
  Status end_;
  CallId next_ = 1;  // a client's streams are odd
  std::unordered_map<CallId, Pending> pending_;
  std::function<void(const Status&)> on_close_;
};

}  // namespace berth::ttrpc
