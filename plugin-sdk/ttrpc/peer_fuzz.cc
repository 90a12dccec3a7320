// A peer that sends anything, to a server that serves and to a client that waits for its answer:
// neither crashes, hangs, or keeps a connection that has said nonsense.
#include <berth/ttrpc/client.h>
#include <berth/ttrpc/server.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <future>
#include <string>

namespace {

using namespace berth;  // NOLINT: a program of one file

struct Fixture {
  std::shared_ptr<ttrpc::Loop> loop = *ttrpc::Loop::start();
  std::string path = "/tmp/berth-peer-fuzz-" + std::to_string(::getpid());
  std::unique_ptr<ttrpc::Server> server =
      *ttrpc::Server::serve(loop, *ttrpc::listen_unix(path, 0600),
                            [](ttrpc::Request request, ttrpc::Responder responder) {
                              responder.on_data([](const ttrpc::Data&) {});
                              if (request.method.size() % 3 == 1)
                                (void)responder.send(request.payload);
                              responder.finish({}, request.payload);
                            });
};

Fixture& fixture() {
  static Fixture* const made = [] {
    std::atexit([] { ::unlink(fixture().path.c_str()); });
    return new Fixture();  // NOLINT: lives as long as the process
  }();
  return *made;
}

void send_all(int socket, const uint8_t* data, size_t size) {
  while (size > 0) {
    const ssize_t sent = ::send(socket, data, size, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return;
    data += sent;
    size -= static_cast<size_t>(sent);
  }
}

// Whatever comes back is read until the other end is done with a peer that sends no more.
void read_to_end(int socket) {
  ::shutdown(socket, SHUT_WR);
  std::array<char, 4096> buffer;
  pollfd entry{socket, POLLIN, 0};
  const int64_t deadline = ttrpc::monotonic_ns() + 5'000'000'000;
  while (true) {
    const int ready = ::poll(&entry, 1, 5000);
    const bool interrupted = ready < 0 && errno == EINTR;  // libFuzzer's alarm, every few seconds
    if (ready < 0 && !interrupted) std::abort();
    if (ready <= 0 && ttrpc::monotonic_ns() >= deadline) std::abort();  // the connection is kept
    if (ready <= 0) continue;
    const ssize_t got = ::read(socket, buffer.data(), buffer.size());
    if (got == 0 || (got < 0 && errno != EINTR)) return;
  }
}

void to_server(const uint8_t* data, size_t size) {
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  fixture().path.copy(address.sun_path, sizeof address.sun_path - 1);
  while (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) !=
         0) {
    if (errno != EINTR) std::abort();
  }
  send_all(socket.get(), data, size);
  read_to_end(socket.get());
}

void to_client(const uint8_t* data, size_t size) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) std::abort();
  const UniqueFd peer(ends[0]);
  const auto client = ttrpc::Client::over(fixture().loop, UniqueFd(ends[1]));
  if (!client.ok()) std::abort();
  std::promise<void> ended;
  (*client)->call_async("a.B", "C", "payload", {},
                        [&](const Status&, const std::string&) { ended.set_value(); });
  send_all(peer.get(), data, size);
  ::shutdown(peer.get(), SHUT_WR);
  // Answered by the bytes, or failed by their end.
  if (ended.get_future().wait_for(std::chrono::seconds(5)) != std::future_status::ready) {
    std::abort();
  }
  (*client)->close();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  if (data[0] % 2 == 0) {
    to_server(data + 1, size - 1);
  } else {
    to_client(data + 1, size - 1);
  }
  return 0;
}
