// The serving end of ttrpc: accepts connections, hands requests out, sends answers whenever they
// are ready.
#pragma once

#include <berth/ttrpc/connection.h>
#include <berth/ttrpc/envelope.h>
#include <sys/types.h>

#include <deque>
#include <unordered_set>

namespace berth::ttrpc {

/// Who is at the other end of a connection, from SO_PEERCRED at accept.
struct Peer {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};

struct Request {
  std::string service;
  std::string method;
  std::string payload;
  int64_t timeout_ns = 0;  // what the caller gives from now on; 0 is no limit
  Metadata metadata;
  Peer peer;
  /// The client sends data frames after the request: a client stream.
  bool remote_open = false;
};

/// What a client sends on an open stream.
struct Data {
  std::string payload;
  bool has_message = true;  // false: the frame carries only the end
  bool end = false;         // the client sends no more
};

namespace detail {
class ServerConnection;
struct Stream;
}  // namespace detail

/// Answers one request. A handle: copy it, keep it, use it from any thread. A request whose last
/// handle goes without an answer is answered INTERNAL.
class Responder {
 public:
  explicit Responder(std::shared_ptr<detail::Stream> stream) : stream_(std::move(stream)) {}

  /// Ends the call; the first answer counts. An answer that is too long becomes RESOURCE_EXHAUSTED.
  void finish(const Status& status, std::string_view payload = {}) const;
  /// Sends one message of a server stream.
  Status send(std::string_view payload) const;
  /// Receives the client's data, from the loop's thread; frames that came earlier come at once.
  /// Once per request.
  void on_data(std::function<void(Data)> receive) const;
  /// Runs when the connection ends before the answer, at once if it has ended.
  void on_abandoned(std::function<void()> abandoned) const;
  bool abandoned() const;

 private:
  std::shared_ptr<detail::Stream> stream_;
};

struct ServerLimits {
  size_t connections = 4096;
  /// Requests under way per connection, and bytes of their payloads. A peer that exceeds one is not
  /// read until it is below.
  size_t requests = 256;
  size_t request_bytes = 32u << 20;
  size_t unsent_bytes = Connection::kMaxUnsent;
};

/// Serves a listening socket until it is destroyed.
class Server {
 public:
  /// Runs on the loop's thread: start work elsewhere or answer in microseconds.
  using Handler = std::function<void(Request request, Responder responder)>;

  static Result<std::unique_ptr<Server>> serve(std::shared_ptr<Loop> loop, UniqueFd listening,
                                               Handler handler, ServerLimits limits = {});
  /// Accepts no more and closes all connections; calls under way are abandoned. Not on the loop's
  /// thread.
  ~Server();

  /// Accepts no more; connections and their calls go on.
  void stop_accepting();
  size_t connections() const;

 private:
  struct Shared;
  explicit Server(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
  static void accept_all(const std::shared_ptr<Shared>& shared);
  std::shared_ptr<Shared> shared_;
};

/// A listening unix socket at `path`, replacing a stale socket file, with the file's mode set
/// before anybody can connect.
Result<UniqueFd> listen_unix(const std::string& path, mode_t mode);

}  // namespace berth::ttrpc
