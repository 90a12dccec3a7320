#include "stream.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <array>
#include <string>

#include "log.h"

namespace berth::shim {
namespace {

// What one turn of the loop gives to one stream.
constexpr int kStepsPerTurn = 16;
constexpr size_t kSpliceSize = 64 << 10;
constexpr size_t kBufferSize = 8 << 10;

bool is_fifo(int fd) {
  struct stat found {};
  return ::fstat(fd, &found) == 0 && S_ISFIFO(found.st_mode);
}

bool is_writable(int fd) {
  pollfd entry{fd, POLLOUT, 0};
  return ::poll(&entry, 1, 0) > 0;
}

/// Bytes that a reader would get now.
uint64_t waiting_in(int fd) {
  int count = 0;
  return fd >= 0 && ::ioctl(fd, FIONREAD, &count) == 0 && count > 0 ? static_cast<uint64_t>(count)
                                                                    : 0;
}

}  // namespace

Stream::Stream(std::shared_ptr<ttrpc::Loop> loop, UniqueFd source, UniqueFd sink, UniqueFd keep,
               Ended ended)
    : loop_(std::move(loop)),
      source_(std::move(source)),
      sink_(std::move(sink)),
      keep_(std::move(keep)),
      ended_(std::move(ended)),
      splices_(is_fifo(source_.get()) && is_fifo(sink_.get())) {}

void Stream::begin(bool to_its_end) {
  to_its_end_ = to_its_end;
  wait_for(Wait::kSource);
}

void Stream::close() {
  if (!source_) return keep_.reset();
  wait_for(Wait::kNothing);
  source_.reset();
  // Whoever reads finds the end behind the last byte.
  if (waiting_in(keep_.get()) == 0 || !is_read_by_others()) keep_.reset();
  sink_.reset();
  pending_ = std::string();
  if (const auto ended = std::exchange(ended_, nullptr)) ended();
}

// Of a fifo: whether there is a reading end but our own, which is closed for a moment to see it.
// What is in the fifo stays as long as anybody has an end.
bool Stream::is_read_by_others() {
  if (!keep_ || !sink_) return false;
  keep_.reset();
  pollfd entry{sink_.get(), POLLOUT, 0};
  const bool read = ::poll(&entry, 1, 0) >= 0 && (entry.revents & POLLERR) == 0;
  const std::string path = "/proc/self/fd/" + std::to_string(sink_.get());
  keep_.reset(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  return read;
}

void Stream::mark() { marked_ = copied() + pending_.size() + waiting_in(source_.get()); }

uint64_t Stream::passed() const { return copied() - std::min(copied(), waiting_in(keep_.get())); }

bool Stream::taken() {
  if (broken_ || passed() >= marked_) return true;
  if (!source_) return !keep_;  // to its end: what is left is somebody's, or nobody's
  return keep_.get() >= 0 && waiting_in(keep_.get()) > 0 && !is_read_by_others();
}

// Only the side that is waited for is watched: the other one would report its hang-up for ever.
void Stream::wait_for(Wait what) {
  if (what == waiting_) return;
  if (watch_ != 0) {
    loop_->remove(std::exchange(watch_, 0),
                  waiting_ == Wait::kSource ? source_.get() : sink_.get());
  }
  waiting_ = what;
  if (what == Wait::kNothing) return;
  const bool source = what == Wait::kSource;
  const uint32_t events = source ? EPOLLIN : EPOLLOUT;
  auto watch =
      loop_->add(source ? source_.get() : sink_.get(), events, [weak = weak_from_this()](uint32_t) {
        if (const auto alive = weak.lock()) alive->pump();
      });
  if (watch.ok()) {
    watch_ = *watch;
  } else {
    log(Level::kError, "copy a process's output: " + watch.status().message());
    waiting_ = Wait::kNothing;
    close();
  }
}

void Stream::pump() {
  const auto self = shared_from_this();
  for (int i = 0; i < kStepsPerTurn && source_; ++i) {
    switch (step()) {
      case Step::kMoved:
        break;
      case Step::kSourceEmpty:
        return wait_for(Wait::kSource);
      case Step::kSinkFull:
        return wait_for(Wait::kSink);
      case Step::kEnd:
        return close();
    }
  }
}

Stream::Step Stream::step() {
  if (broken_) return to_its_end_ ? Step::kEnd : discard();
  if (!splices_) return step_through_buffer();
  const ssize_t moved = ::splice(source_.get(), nullptr, sink_.get(), nullptr, kSpliceSize,
                                 SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
  if (moved > 0) {
    copied_.fetch_add(static_cast<uint64_t>(moved), std::memory_order_relaxed);
    return Step::kMoved;
  }
  if (moved == 0) return Step::kEnd;
  switch (errno) {
    case EINTR:
      return Step::kMoved;
    case EAGAIN:
      return is_writable(sink_.get()) ? Step::kSourceEmpty : Step::kSinkFull;
    case EINVAL:
      splices_ = false;
      return Step::kMoved;
    default:
      broken_ = true;
      return Step::kMoved;
  }
}

Stream::Step Stream::flush() {
  while (!pending_.empty()) {
    const ssize_t written = ::write(sink_.get(), pending_.data(), pending_.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EAGAIN) return Step::kSinkFull;
    if (written < 0) {
      log(Level::kWarning,
          errno_status(errno, "write a process's output, which is lost").message());
      pending_.clear();
      broken_ = true;
      break;
    }
    copied_.fetch_add(static_cast<uint64_t>(written), std::memory_order_relaxed);
    pending_.erase(0, static_cast<size_t>(written));
  }
  return Step::kMoved;
}

Stream::Step Stream::step_through_buffer() {
  if (!pending_.empty()) return flush();
  std::array<char, kBufferSize> buffer;
  const ssize_t got = ::read(source_.get(), buffer.data(), buffer.size());
  if (got < 0 && errno == EINTR) return Step::kMoved;
  if (got < 0 && errno == EAGAIN) return Step::kSourceEmpty;
  if (got <= 0) return Step::kEnd;  // a terminal whose processes are gone says EIO
  pending_.assign(buffer.data(), static_cast<size_t>(got));
  const Step step = flush();
  if (pending_.empty()) pending_ = std::string();
  return step;
}

Stream::Step Stream::discard() {
  std::array<char, kBufferSize> buffer;
  const ssize_t got = ::read(source_.get(), buffer.data(), buffer.size());
  if (got < 0 && errno == EAGAIN) return Step::kSourceEmpty;
  return got > 0 || (got < 0 && errno == EINTR) ? Step::kMoved : Step::kEnd;
}

}  // namespace berth::shim
