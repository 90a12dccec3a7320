#include <berth/fd.h>
#include <berth/shim_client/shim_log.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include <array>

namespace berth::shim_client {
namespace {

constexpr size_t kMaxLine = 8 << 10;  // longer ones are cut into pieces

}  // namespace

struct ShimLog::Reader {
  UniqueFd fifo;
  Line line;
  std::string pending;

  void read_some() {
    std::array<char, 8 << 10> buffer;
    const ssize_t got = ::read(fifo.get(), buffer.data(), buffer.size());
    if (got <= 0) return;  // level triggered: what is left comes again
    std::string_view bytes(buffer.data(), static_cast<size_t>(got));
    while (!bytes.empty()) {
      const size_t end = bytes.find('\n');
      pending.append(bytes.substr(0, end));
      bytes.remove_prefix(end == std::string_view::npos ? bytes.size() : end + 1);
      if (end == std::string_view::npos && pending.size() < kMaxLine) return;
      if (!pending.empty()) line(pending);
      pending.clear();
    }
  }
};

Result<std::unique_ptr<ShimLog>> ShimLog::open(std::shared_ptr<ttrpc::Loop> loop,
                                               const Bundle& bundle, Line line) {
  const std::string path = bundle.file("log");
  if (::mkfifo(path.c_str(), 0700) != 0 && errno != EEXIST)
    return errno_status(errno, "make the fifo " + path);
  auto reader = std::make_shared<Reader>();
  // Read and write: the fifo then never ends, and no shim that opens it is refused or kept waiting.
  reader->fifo.reset(::open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW));
  if (!reader->fifo) return errno_status(errno, "open the fifo " + path);
  reader->line = std::move(line);
  std::unique_ptr<ShimLog> log(new ShimLog(loop, reader));
  BERTH_ASSIGN_OR_RETURN(log->source_, loop->add(reader->fifo.get(), EPOLLIN,
                                                 [reader](uint32_t) { reader->read_some(); }));
  return log;
}

ShimLog::~ShimLog() {
  if (source_ != 0) loop_->remove(source_, reader_->fifo.get());
}

}  // namespace berth::shim_client
