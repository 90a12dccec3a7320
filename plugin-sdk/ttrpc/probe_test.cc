#include <berth/ttrpc.h>
#include <berth/ttrpc/probe.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <filesystem>
#include <thread>

namespace berth::ttrpc {
namespace {

using namespace std::chrono_literals;

class Probe : public testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/berth-probe-XXXXXX";
    ASSERT_NE(::mkdtemp(path), nullptr);
    directory_ = path;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  std::string path() const { return directory_ + "/s"; }
  bool exists() const { return std::filesystem::exists(path()); }

  UniqueFd listening() const {
    auto socket = listen_unix(path(), 0600);
    EXPECT_TRUE(socket.ok()) << socket.status().to_string();
    return std::move(*socket);
  }
  UniqueFd connected() const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path().copy(address.sun_path, sizeof address.sun_path - 1);
    UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto* const to = reinterpret_cast<const sockaddr*>(&address);
    return ::connect(socket.get(), to, sizeof address) == 0 ? std::move(socket) : UniqueFd();
  }

  std::string directory_;
};

TEST_F(Probe, AServerIsThere) {
  auto loop = Loop::start();
  ASSERT_TRUE(loop.ok());
  auto server = Server::serve(*loop, listening(), [](const Request&, const Responder& responder) {
    responder.finish(unimplemented("nothing"));
  });
  ASSERT_TRUE(server.ok());
  const auto began = std::chrono::steady_clock::now();
  EXPECT_TRUE(is_served(path(), 20s));
  EXPECT_LT(std::chrono::steady_clock::now() - began, 10s);
  remove_dead_socket(path());
  EXPECT_TRUE(exists());
  server->reset();
  remove_dead_socket(path());
  EXPECT_FALSE(exists());
  EXPECT_FALSE(is_served(path()));
}

TEST_F(Probe, ASilentServerIsThere) {
  const UniqueFd stopped = listening();
  EXPECT_TRUE(is_served(path(), 50ms));
}

TEST_F(Probe, AConnectionThatEndsIsNoServer) {
  UniqueFd dying = listening();
  std::thread death([&] {
    std::this_thread::sleep_for(100ms);
    dying.reset();
  });
  EXPECT_FALSE(is_served(path(), 20s));
  death.join();
}

// What a daemon sees of a shim that is killed: its connection has ended, and others can be made.
TEST_F(Probe, ADyingProcessIsNoServer) {
  constexpr int kHigh = 100;  // the kernel closes it long before what has a lower number
  for (int i = 0; i < 50; ++i) {
    UniqueFd socket = listening();
    const pid_t pid = ::fork();
    if (pid == 0) {
      for (int n = 0; n < 4; ++n) (void)::inotify_add_watch(::inotify_init1(0), "/", IN_CREATE);
      int accepted = -1;
      while (accepted < 0) accepted = ::accept(socket.get(), nullptr, nullptr);
      ::dup2(accepted, kHigh);
      ::close(accepted);
      (void)::write(kHigh, "x", 1);
      ::pause();
      ::_exit(0);
    }
    socket.reset();
    const UniqueFd connection = connected();
    char byte = 0;
    ASSERT_EQ(::read(connection.get(), &byte, 1), 1);
    ::kill(pid, SIGKILL);
    ASSERT_EQ(::read(connection.get(), &byte, 1), 0);
    remove_dead_socket(path());
    EXPECT_FALSE(exists()) << "in round " << i;
    ::waitpid(pid, nullptr, 0);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace berth::ttrpc
