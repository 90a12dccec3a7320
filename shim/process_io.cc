#include "process_io.h"

#include <berth/spawn.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <chrono>
#include <condition_variable>
#include <thread>

#include "files.h"
#include "log.h"

namespace berth::shim {
namespace {

// Clients open their fifos before they ask for the process; some do it on another thread.
constexpr auto kReaderPatience = std::chrono::seconds(2);
// For a client that does not read what a process has left, and for one that reads slowly.
constexpr int64_t kStalled = 500'000'000;
constexpr int64_t kSlow = 1'000'000'000;
constexpr auto kLoggerStart = std::chrono::seconds(10);

constexpr std::string_view kFile = "file://";
constexpr std::string_view kBinary = "binary://";
constexpr std::string_view kFifo = "fifo://";

// %41 is A, + stays: the path of a URI.
std::string unescape(std::string_view text) {
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
  };
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && digit(text[i + 1]) >= 0 &&
        digit(text[i + 2]) >= 0) {
      out.push_back(static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2])));
      i += 2;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

void make_parents(const std::string& path) {
  for (size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
    ::mkdir(path.substr(0, at).c_str(), 0755);
  }
}

// The writing end, once somebody reads: what a process writes before that would be lost when it
// ends first. Nobody after all: the fifo keeps it as long as it is open here.
UniqueFd open_fifo_writer(const std::string& path) {
  const auto end = std::chrono::steady_clock::now() + kReaderPatience;
  while (true) {
    UniqueFd fd(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
    if (fd || errno != ENXIO) return fd;
    if (std::chrono::steady_clock::now() >= end) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const UniqueFd both(::open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  return UniqueFd(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
}

}  // namespace

Result<Stdio::Sink> Stdio::open_sink(const std::string& name) {
  Sink sink;
  if (name.starts_with(kFile)) {
    const std::string path =
        unescape(std::string_view(name).substr(kFile.size(), name.find('?') - kFile.size()));
    make_parents(path);
    sink.fd.reset(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    if (!sink.fd) return errno_status(errno, "open " + path + " for a process's output");
    return sink;
  }
  const std::string path = name.starts_with(kFifo) ? name.substr(kFifo.size()) : name;
  if (const size_t scheme = path.find("://"); scheme != std::string::npos && path[0] != '/') {
    return unknown_error("unknown STDIO scheme " + path.substr(0, scheme));
  }
  struct stat found {};
  if (::stat(path.c_str(), &found) != 0)
    return errno_status(errno, "containerd-shim: opening " + path);
  if (!S_ISFIFO(found.st_mode)) {
    sink.fd.reset(::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
    if (!sink.fd) return errno_status(errno, "containerd-shim: opening file " + path);
    return sink;
  }
  sink.fd = open_fifo_writer(path);
  if (!sink.fd) return errno_status(errno, "containerd-shim: opening w/o fifo " + path);
  // A client that goes and comes back finds the fifo as it left it, and nobody gets EPIPE.
  sink.keep.reset(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  return sink;
}

Status Stdio::open_input(const StdioOwner& owner) {
  in_source_.reset(::open(spec_.in.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!in_source_) return errno_status(errno, "containerd-shim: opening " + spec_.in);
  in_hold_.reset(::open(spec_.in.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
  if (spec_.terminal) return {};
  BERTH_ASSIGN_OR_RETURN(Pipe pipe, make_pipe());
  if (owner.uid != 0 || owner.gid != 0) {
    [[maybe_unused]] const int owned = ::fchown(pipe.read.get(), owner.uid, owner.gid);
  }
  child_in_ = std::move(pipe.read);
  in_sink_ = std::move(pipe.write);
  set_nonblocking(in_sink_.get());
  return {};
}

Status Stdio::open_output(const std::string& name, const StdioOwner& owner, UniqueFd* child,
                          Sink* sink, UniqueFd* source) {
  if (name.empty()) return {};
  BERTH_ASSIGN_OR_RETURN(*sink, open_sink(name));
  if (spec_.terminal) return {};
  BERTH_ASSIGN_OR_RETURN(Pipe pipe, make_pipe());
  if (owner.uid != 0 || owner.gid != 0) {
    [[maybe_unused]] const int owned = ::fchown(pipe.write.get(), owner.uid, owner.gid);
  }
  *child = std::move(pipe.write);
  *source = std::move(pipe.read);
  set_nonblocking(source->get());
  return {};
}

// A logger reads the process's own pipes as its descriptors 3 and 4, and closes 5 when it is ready.
Status Stdio::start_logger(Children* children, const StdioOwner& owner) {
  const std::string_view uri = spec_.out;
  const size_t question = uri.find('?');
  BERTH_ASSIGN_OR_RETURN(Pipe out, make_pipe());
  BERTH_ASSIGN_OR_RETURN(Pipe err, make_pipe());
  BERTH_ASSIGN_OR_RETURN(Pipe ready, make_pipe());
  Command command;
  command.program = unescape(uri.substr(kBinary.size(), question - kBinary.size()));
  std::string_view query = question == std::string_view::npos ? "" : uri.substr(question + 1);
  while (!query.empty()) {
    const size_t end = query.find('&');
    std::string_view pair = query.substr(0, end);
    query.remove_prefix(end == std::string_view::npos ? query.size() : end + 1);
    const size_t equals = pair.find('=');
    command.arguments.push_back(unescape(pair.substr(0, equals)));
    if (equals != std::string_view::npos && equals + 1 < pair.size()) {
      command.arguments.push_back(unescape(pair.substr(equals + 1)));
    }
  }
  command.more = {out.read.get(), err.read.get(), ready.write.get()};
  command.more_environment = {"CONTAINER_ID=" + owner.container, "CONTAINER_NAMESPACE=" + owner.ns};
  BERTH_ASSIGN_OR_RETURN([[maybe_unused]] const pid_t pid,
                         children->spawn(command, [](const Exit&) {}));
  ready.write.reset();
  pollfd entry{ready.read.get(), POLLIN, 0};
  const auto patience = std::chrono::duration_cast<std::chrono::milliseconds>(kLoggerStart);
  if (::poll(&entry, 1, static_cast<int>(patience.count())) <= 0) {
    ::kill(pid, SIGKILL);
    return unknown_error("failed to start binary logger " + command.program +
                         ": it has not said that it is ready");
  }
  if (spec_.terminal) {
    out_.fd = std::move(out.write);
    set_nonblocking(out_.fd.get());
    return {};
  }
  child_out_ = std::move(out.write);
  child_err_ = std::move(err.write);
  return {};
}

Result<std::shared_ptr<Stdio>> Stdio::open(std::shared_ptr<ttrpc::Loop> loop, Children* children,
                                           const StdioSpec& spec, const StdioOwner& owner) {
  std::shared_ptr<Stdio> stdio(new Stdio(std::move(loop), spec));
  if (spec.terminal) {
    BERTH_ASSIGN_OR_RETURN(auto console, ConsoleSocket::open(owner.bundle, owner.name + ".pty"));
    stdio->console_.emplace(std::move(console));
  }
  if (!spec.in.empty()) BERTH_RETURN_IF_ERROR(stdio->open_input(owner));
  if (spec.out.starts_with(kBinary)) {
    BERTH_RETURN_IF_ERROR(stdio->start_logger(children, owner));
    return stdio;
  }
  BERTH_RETURN_IF_ERROR(
      stdio->open_output(spec.out, owner, &stdio->child_out_, &stdio->out_, &stdio->out_source_));
  if (!spec.terminal) {
    BERTH_RETURN_IF_ERROR(
        stdio->open_output(spec.err, owner, &stdio->child_err_, &stdio->err_, &stdio->err_source_));
  }
  return stdio;
}

void Stdio::add_stream(UniqueFd source, Sink sink) {
  auto stream = std::make_shared<Stream>(loop_, std::move(source), std::move(sink.fd),
                                         std::move(sink.keep), [weak = weak_from_this()] {
                                           if (const auto alive = weak.lock())
                                             alive->output_ended();
                                         });
  ++open_outputs_;
  outputs_.push_back(stream);
  loop_->post([stream] { stream->begin(); });
}

void Stdio::output_ended() {
  const std::lock_guard lock(mutex_);
  if (open_outputs_ > 0) --open_outputs_;
  changed_.notify_all();
}

Status Stdio::begin() {
  const std::lock_guard lock(mutex_);
  child_in_.reset();
  child_out_.reset();
  child_err_.reset();
  if (console_) {
    BERTH_ASSIGN_OR_RETURN(terminal_, console_->receive());
    console_.reset();
    set_nonblocking(terminal_.get());
    // One epoll watches a descriptor once, so each direction has its own.
    out_source_.reset(::fcntl(terminal_.get(), F_DUPFD_CLOEXEC, 3));
    if (in_source_) in_sink_.reset(::fcntl(terminal_.get(), F_DUPFD_CLOEXEC, 3));
    if (!out_.fd) out_.fd.reset(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  }
  if (in_source_) {
    input_ = std::make_shared<Stream>(loop_, std::move(in_source_), std::move(in_sink_), UniqueFd(),
                                      nullptr);
    loop_->post([stream = input_] { stream->begin(true); });
  }
  if (out_source_) add_stream(std::move(out_source_), std::move(out_));
  if (err_source_) add_stream(std::move(err_source_), std::move(err_));
  return {};
}

Status Stdio::resize(uint32_t width, uint32_t height) {
  const std::lock_guard lock(mutex_);
  if (!terminal_) return {};
  winsize size{};
  size.ws_col = static_cast<unsigned short>(width);
  size.ws_row = static_cast<unsigned short>(height);
  if (::ioctl(terminal_.get(), TIOCSWINSZ, &size) != 0) {
    return errno_status(errno, "resize the terminal");
  }
  return {};
}

void Stdio::close_input() {
  const std::lock_guard lock(mutex_);
  in_hold_.reset();
}

bool Stdio::taken() {
  std::vector<std::shared_ptr<Stream>> streams;
  {
    const std::lock_guard lock(mutex_);
    streams = outputs_;
  }
  const int64_t now = ttrpc::monotonic_ns();
  uint64_t passed = 0;
  bool all = true;
  for (const auto& stream : streams) {
    stream->pump();
    if (asked_ == 0) stream->mark();
    all = stream->taken() && all;
    passed += stream->passed();
  }
  if (asked_ == 0) asked_ = moved_ = now;
  if (passed != passed_) moved_ = now;
  passed_ = passed;
  return all || now - moved_ >= kStalled || now - asked_ >= kSlow;
}

void Stdio::drain(int seconds) {
  std::unique_lock lock(mutex_);
  const auto total = [this] {
    uint64_t sum = 0;
    for (const auto& stream : outputs_) sum += stream->copied();
    return sum;
  };
  uint64_t before = total();
  const auto done = [this] { return open_outputs_ == 0 || closed_; };
  while (!changed_.wait_for(lock, std::chrono::seconds(seconds), done)) {
    const uint64_t now = total();
    if (now == before) return;
    before = now;
  }
}

void Stdio::close() {
  std::vector<std::shared_ptr<Stream>> streams;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    closed_ = true;
    in_hold_.reset();
    terminal_.reset();
    console_.reset();
    streams.swap(outputs_);
    if (input_ != nullptr) streams.push_back(std::move(input_));
    changed_.notify_all();
  }
  loop_->post([streams] {
    for (const auto& stream : streams) stream->close();
  });
}

}  // namespace berth::shim
