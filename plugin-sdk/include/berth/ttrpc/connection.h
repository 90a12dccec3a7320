// One ttrpc connection at the level of frames: what client and server have in common.
#pragma once

#include <berth/ttrpc/frame.h>
#include <berth/ttrpc/loop.h>

namespace berth::ttrpc {

/// Sends and receives frames on a connected socket. Bounded: it holds one incomplete frame inwards
/// and `max_unsent` bytes outwards. Kept alive by the loop until it is closed.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  /// Runs on the loop's thread, frames in order.
  using OnFrame = std::function<void(Frame)>;
  /// Runs once, after the last frame, on the loop's thread or in close(). The status says why;
  /// never OK.
  using OnClose = std::function<void(const Status&)>;

  static constexpr size_t kMaxUnsent = 16u << 20;

  Connection(std::shared_ptr<Loop> loop, UniqueFd socket, size_t max_unsent = kMaxUnsent)
      : loop_(std::move(loop)), socket_(std::move(socket)), max_unsent_(max_unsent) {}
  ~Connection();

  /// Begins to receive; once.
  Status begin(OnFrame on_frame, OnClose on_close);

  /// Queues one frame and sends what the socket takes at once. Any thread. RESOURCE_EXHAUSTED for a
  /// payload beyond kMaxPayload and when the peer does not read; UNAVAILABLE when closed.
  Status send(uint32_t stream_id, uint8_t type, uint8_t flags, std::string_view payload);

  /// Stops and resumes receiving: how a server holds a peer back that asks too much. Any thread.
  void pause(bool paused);

  /// Any thread; the first reason counts.
  void close(const Status& reason);
  bool closed() const;

  int fd() const { return socket_.get(); }

 private:
  void ready(uint32_t events);
  bool receive();         // false when the connection has ended
  Status flush_locked();  // sends until the socket is full
  void watch_locked();

  const std::shared_ptr<Loop> loop_;
  const UniqueFd
      socket_;  // shut down by close(), closed with the object: its number is not reused meanwhile
  const size_t max_unsent_;
  FrameParser parser_;  // loop thread only
  OnFrame on_frame_;    // set before the loop knows the socket

  mutable std::mutex mutex_;  // guards what follows
  Loop::Id source_ = 0;
  uint32_t watched_ = 0;
  bool paused_ = false;
  bool closed_ = false;
  OnClose on_close_;
  std::string unsent_;
  size_t sent_ = 0;  // of unsent_
};

}  // namespace berth::ttrpc
