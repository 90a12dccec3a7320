#include <berth/ttrpc/connection.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>

namespace berth::ttrpc {
namespace {

// Bytes taken from one socket before others get their turn.
constexpr size_t kReadPerTurn = 256 << 10;

Status closed_status() { return unavailable("ttrpc: closed"); }

}  // namespace

Connection::~Connection() {
  if (source_ != 0) loop_->remove(source_, socket_.get());
}

Status Connection::begin(OnFrame on_frame, OnClose on_close) {
  on_frame_ = std::move(on_frame);
  const std::lock_guard lock(mutex_);
  on_close_ = std::move(on_close);
  watched_ = EPOLLIN;
  BERTH_ASSIGN_OR_RETURN(
      source_, loop_->add(socket_.get(), watched_,
                          [self = shared_from_this()](uint32_t events) { self->ready(events); }));
  return {};
}

void Connection::watch_locked() {
  const uint32_t wanted = (paused_ ? 0u : static_cast<uint32_t>(EPOLLIN)) |
                          (unsent_.empty() ? 0u : static_cast<uint32_t>(EPOLLOUT));
  if (wanted == watched_ || source_ == 0) return;
  // Fails only for a descriptor that is no longer watched, and then the connection is being closed.
  if (loop_->modify(source_, socket_.get(), wanted).ok()) watched_ = wanted;
}

Status Connection::flush_locked() {
  while (sent_ < unsent_.size()) {
    const ssize_t written = ::send(socket_.get(), unsent_.data() + sent_, unsent_.size() - sent_,
                                   MSG_NOSIGNAL | MSG_DONTWAIT);
    if (written < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return {};
      return errno_status(errno, "ttrpc: send");
    }
    sent_ += static_cast<size_t>(written);
  }
  sent_ = 0;
  if (unsent_.capacity() > (64 << 10)) {
    unsent_ = std::string();  // an idle connection keeps no large buffer
  } else {
    unsent_.clear();
  }
  return {};
}

Status Connection::send(uint32_t stream_id, uint8_t type, uint8_t flags, std::string_view payload) {
  const std::lock_guard lock(mutex_);
  if (closed_) return closed_status();
  const size_t waiting = unsent_.size() - sent_;
  // A single frame always fits into an empty queue.
  if (waiting > 0 && waiting + payload.size() > max_unsent_) {
    return resource_exhausted("ttrpc: send: the peer has not read " + std::to_string(waiting) +
                              " bytes that wait for it");
  }
  BERTH_RETURN_IF_ERROR(append_frame(stream_id, type, flags, payload, &unsent_));
  // With bytes waiting the loop is watching for room already.
  const Status flushed = waiting == 0 ? flush_locked() : Status();
  if (!flushed.ok()) {
    // The loop sees the broken socket itself and reports it from its own thread.
    ::shutdown(socket_.get(), SHUT_RDWR);
    return closed_status();
  }
  watch_locked();
  return {};
}

void Connection::pause(bool paused) {
  const std::lock_guard lock(mutex_);
  paused_ = paused;
  if (!closed_) watch_locked();
}

bool Connection::closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

void Connection::close(const Status& reason) {
  OnClose on_close;
  Loop::Id source = 0;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    closed_ = true;
    on_close.swap(on_close_);
    std::swap(source, source_);
  }
  const auto self = weak_from_this().lock();  // remove() may drop the last reference
  ::shutdown(socket_.get(), SHUT_RDWR);
  if (source != 0) loop_->remove(source, socket_.get());
  if (on_close) on_close(reason);
  // Its owner may be held by on_frame_; a frame may be under way on the loop's thread, so it is
  // dropped there.
  if (self != nullptr) loop_->post([self] { self->on_frame_ = nullptr; });
}

bool Connection::receive() {
  std::array<char, 64 << 10> buffer;
  for (size_t total = 0; total < kReadPerTurn;) {
    const ssize_t got = ::recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return true;
    if (got < 0) {
      close(unavailable("ttrpc: closed: receive: " + errno_status(errno, "recv").message()));
      return false;
    }
    if (got == 0) {
      close(closed_status());
      return false;
    }
    total += static_cast<size_t>(got);
    parser_.feed({buffer.data(), static_cast<size_t>(got)}, [this](Frame frame) {
      if (!closed()) on_frame_(std::move(frame));
    });
    if (static_cast<size_t>(got) < buffer.size()) return true;
    const std::lock_guard lock(mutex_);
    if (paused_ || closed_) return !closed_;
  }
  return true;
}

void Connection::ready(uint32_t events) {
  if ((events & EPOLLOUT) != 0) {
    Status flushed;
    {
      const std::lock_guard lock(mutex_);
      flushed = flush_locked();
      if (flushed.ok()) watch_locked();
    }
    if (!flushed.ok()) return close(unavailable("ttrpc: closed: " + flushed.message()));
  }
  // Errors and hang-ups are read like data: what arrived before them still counts.
  if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) == 0) return;
  const bool paused = [this] {
    const std::lock_guard lock(mutex_);
    return paused_;
  }();
  if (!paused) {
    receive();
  } else if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
    close(closed_status());  // level triggered: an ended peer would be reported for ever
  }
}

}  // namespace berth::ttrpc
