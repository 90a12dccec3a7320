#include "link/channel.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>

namespace berth::link {
namespace {

constexpr int kSocketBytes = 4 << 20;

/// One sendmsg; the number of bytes taken, or -1 and errno.
ssize_t send_once(int socket, iovec* parts, size_t part_count, const std::vector<UniqueFd>& fds) {
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = part_count;
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxFds * sizeof(int))];
  if (!fds.empty()) {
    const size_t bytes = fds.size() * sizeof(int);
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(bytes);
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(bytes);
    auto* numbers = reinterpret_cast<int*>(CMSG_DATA(head));
    for (const UniqueFd& fd : fds) *numbers++ = fd.get();
  }
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent;
}

bool would_wait(int error) {
  // ETOOMANYREFS: the other side has not yet received as many descriptors as may be on their way.
  return error == EAGAIN || error == EWOULDBLOCK || error == ENOBUFS || error == ETOOMANYREFS;
}

void take_descriptors(msghdr* message, std::vector<UniqueFd>* out) {
  for (cmsghdr* head = CMSG_FIRSTHDR(message); head != nullptr; head = CMSG_NXTHDR(message, head)) {
    if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    const auto* numbers = reinterpret_cast<const int*>(CMSG_DATA(head));
    for (size_t i = 0; i < count; ++i) out->emplace_back(numbers[i]);
  }
}

}  // namespace

Channel::Channel(UniqueFd socket) : socket_(std::move(socket)) {
  // What the kernel does not take at once is copied and waits for a thread. Without the privilege
  // it stays at the machine's limit.
  const int bytes = kSocketBytes;
  if (::setsockopt(socket_.get(), SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) != 0) {
    (void)::setsockopt(socket_.get(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
  }
}

Channel::~Channel() { end(); }

bool Channel::send(FrameHeader header, std::string_view head, std::string_view tail,
                   std::vector<UniqueFd> fds) {
  header.size = static_cast<uint32_t>(head.size() + tail.size());
  header.fd_count = static_cast<uint16_t>(fds.size());
  const std::string_view pieces[3] = {
      {reinterpret_cast<const char*>(&header), sizeof header}, head, tail};
  const size_t total = sizeof header + header.size;
  const std::lock_guard lock(mutex_);
  if (shut_) return false;
  size_t sent = 0;
  if (waiting_.empty() && !writing_) {
    iovec parts[3];
    for (int i = 0; i < 3; ++i) {
      parts[i] = {const_cast<char*>(pieces[i].data()), pieces[i].size()};
    }
    const ssize_t taken = send_once(socket_.get(), parts, 3, fds);
    if (taken < 0 && !would_wait(errno)) {
      shut_ = true;
      ::shutdown(socket_.get(), SHUT_RDWR);  // the receiver says it
      return false;
    }
    if (taken > 0) {
      sent = static_cast<size_t>(taken);
      fds.clear();
    }
    if (sent == total) return true;
  }
  Waiting rest{{}, 0, std::move(fds)};
  rest.bytes.reserve(total - sent);
  size_t skip = sent;
  for (const std::string_view piece : pieces) {
    const size_t here = std::min(skip, piece.size());
    rest.bytes.append(piece.substr(here));
    skip -= here;
  }
  backlog_ += rest.bytes.size();
  waiting_.push_back(std::move(rest));
  if (!writer_.joinable()) writer_ = std::thread([this] { write_waiting(); });
  wake_.notify_all();
  return true;
}

size_t Channel::backlog() const {
  const std::lock_guard lock(mutex_);
  return backlog_;
}

void Channel::write_waiting() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return shut_ || !waiting_.empty(); });
    if (shut_) return;
    Waiting one = std::move(waiting_.front());
    waiting_.pop_front();
    writing_ = true;
    lock.unlock();
    bool broken = false;
    while (one.written < one.bytes.size() && !broken) {
      iovec part{one.bytes.data() + one.written, one.bytes.size() - one.written};
      const ssize_t taken = send_once(socket_.get(), &part, 1, one.fds);
      if (taken >= 0) {
        one.written += static_cast<size_t>(taken);
        one.fds.clear();
      } else if (would_wait(errno)) {
        // A shut socket is writable. The limit is for what only time mends: too many descriptors on
        // their way.
        const bool full = errno == EAGAIN || errno == EWOULDBLOCK;
        pollfd wait{socket_.get(), static_cast<short>(full ? POLLOUT : 0), 0};
        (void)::poll(&wait, 1, full ? 1000 : 10);
      } else {
        broken = true;
      }
    }
    lock.lock();
    writing_ = false;
    backlog_ -= std::min(backlog_, one.bytes.size());
    if (broken) {
      shut_ = true;
      ::shutdown(socket_.get(), SHUT_RDWR);
      return;
    }
  }
}

Status Channel::receive(const std::function<Status(Frame)>& take) {
  FrameReader reader;
  // Room for the descriptors of several frames, since one read may take them all.
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxFds * sizeof(int))];
  while (true) {
    const std::span<char> space = reader.space();
    iovec part{space.data(), space.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t got = ::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno != ECONNRESET) return errno_status(errno, "receive from the other side");
    if (got <= 0) {
      return unavailable(reader.in_frame() ? "the other side ended in the middle of a frame"
                                           : "the other side ended");
    }
    std::vector<UniqueFd> fds;
    take_descriptors(&message, &fds);
    if ((message.msg_flags & MSG_CTRUNC) != 0) {
      return resource_exhausted("descriptors were lost: this process has too many open files");
    }
    BERTH_RETURN_IF_ERROR(reader.received(static_cast<size_t>(got), std::move(fds)));
    while (auto frame = reader.next()) BERTH_RETURN_IF_ERROR(take(*std::move(frame)));
  }
}

void Channel::end() {
  shut();
  std::thread writer;
  {
    const std::lock_guard lock(mutex_);
    writer = std::move(writer_);  // none begins any more
  }
  if (writer.joinable()) writer.join();
}

void Channel::shut() {
  const std::lock_guard lock(mutex_);
  shut_ = true;
  ::shutdown(socket_.get(), SHUT_RDWR);
  wake_.notify_all();
}

}  // namespace berth::link
