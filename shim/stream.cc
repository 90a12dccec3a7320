#include "stream.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include <array>

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
  if (!source_) return;
  wait_for(Wait::kNothing);
  source_.reset();
  sink_.reset();
  keep_.reset();
  pending_ = std::string();
  if (const auto ended = std::exchange(ended_, nullptr)) ended();
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
