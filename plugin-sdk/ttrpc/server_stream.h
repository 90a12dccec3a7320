// Private to the server: one connection with its requests under way.
#pragma once

#include <berth/ttrpc/server.h>

namespace berth::ttrpc::detail {

/// One request. Shared by the connection (until it is answered) and the Responder handles.
struct Stream {
  Stream(std::weak_ptr<ServerConnection> owner, uint32_t stream_id, size_t request_size)
      : connection(std::move(owner)), id(stream_id), size(request_size) {}

  void finish(const Status& status, std::string_view payload);
  Status send(std::string_view payload);
  void receive(Data data);
  void abandon();

  const std::weak_ptr<ServerConnection> connection;
  const uint32_t id;
  const size_t size;

  std::mutex mutex;  // guards what follows
  bool finished = false;
  bool abandoned = false;
  bool delivering = false;  // a thread is running on_data: others only queue
  std::function<void(Data)> on_data;
  std::function<void()> on_abandoned;
  std::deque<Data> early;
  size_t early_bytes = 0;
};

/// Owns the streams of one connection.
class ServerConnection : public std::enable_shared_from_this<ServerConnection> {
 public:
  ServerConnection(std::shared_ptr<Loop> loop, UniqueFd socket, Peer peer, Server::Handler handler,
                   const ServerLimits& limits)
      : connection_(
            std::make_shared<Connection>(std::move(loop), std::move(socket), limits.unsent_bytes)),
        peer_(peer),
        handler_(std::move(handler)),
        limits_(limits) {}

  /// `closed` runs when the connection has ended.
  Status begin(std::function<void()> closed);
  void close() { connection_->close(unavailable("ttrpc: server closed")); }

  Connection& connection() { return *connection_; }
  /// The stream has been answered.
  void forget(uint32_t id);

 private:
  void receive(Frame frame);
  void receive_request(Frame frame);
  void receive_data(Frame frame);
  void reject(uint32_t id, const Status& status);
  void ended();
  void hold_back_locked();

  const std::shared_ptr<Connection> connection_;
  const Peer peer_;
  const Server::Handler handler_;
  const ServerLimits limits_;
  std::function<void()> closed_;

  std::mutex mutex_;  // guards what follows
  std::unordered_map<uint32_t, std::shared_ptr<Stream>> streams_;
  size_t bytes_ = 0;
  bool held_back_ = false;
};

}  // namespace berth::ttrpc::detail
