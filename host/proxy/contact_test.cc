// What is told of an address: with nobody there, with real servers, and with those that are sick.
#include "proxy/contact.h"

#include <berth/context.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <thread>
#include <vector>

#include "rpc/grpc_door.h"

namespace berth::proxy {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kSecond = 1'000'000'000;

class Address : public ::testing::Test {
 protected:
  Address() : folder_(std::filesystem::temp_directory_path().string() + "/berth-contact.XXXXXX") {
    EXPECT_NE(::mkdtemp(folder_.data()), nullptr);
  }
  ~Address() override { std::filesystem::remove_all(folder_); }

  std::string path() const { return folder_ + "/other.sock"; }
  std::string pid_text() const { return "process " + std::to_string(::getpid()) + " ("; }

  UniqueFd listening(int backlog = 16, int type = SOCK_STREAM) const {
    UniqueFd socket(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    path().copy(name.sun_path, sizeof name.sun_path - 1);
    EXPECT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
    if (type == SOCK_STREAM) {
      EXPECT_EQ(::listen(socket.get(), backlog), 0);
    }
    return socket;
  }
  Contacted ask(int64_t patience = 10 * kSecond) const {
    return Greeting(path()).answer(monotonic_now() + patience);
  }
  /// A server that takes one connection and says this.
  Contacted ask_one_that_says(const std::string& words) const {
    const UniqueFd socket = listening();
    std::thread server([&] {
      const UniqueFd one(::accept(socket.get(), nullptr, nullptr));
      char greeting[64];
      (void)!::read(one.get(), greeting, sizeof greeting);
      EXPECT_EQ(::send(one.get(), words.data(), words.size(), MSG_NOSIGNAL),
                static_cast<ssize_t>(words.size()));
    });
    const Contacted found = ask();
    server.join();
    return found;
  }

  std::string folder_;
};

TEST_F(Address, WhereAServerOfGrpcListensAnswers) {
  auto& router = *new rpc::Router;  // as in the daemon; reachable through the door
  router.complete();
  rpc::GrpcDoorOptions options;
  options.address = path();
  options.uid = ::getuid();
  options.gid = ::getgid();
  auto door = rpc::GrpcDoor::open(options, router);
  ASSERT_TRUE(door.ok()) << door.status().message();
  for (const std::string& address : {path(), "unix://" + path()}) {
    const Contacted found = Greeting(address).answer(monotonic_now() + 10 * kSecond);
    EXPECT_EQ(found.contact, Contact::kAnswers) << found.reason;
    EXPECT_EQ(found.pid, ::getpid());
    EXPECT_EQ(found.process_name, "contact_test");
    EXPECT_THAT(found.reason, IsEmpty());
  }
  (*door)->close(monotonic_now());
  door->reset();
  delete &router;
}

TEST_F(Address, WithoutASocketHasNobody) {
  const Contacted found = ask();
  EXPECT_EQ(found.contact, Contact::kNobody);
  EXPECT_EQ(found.pid, 0);
  EXPECT_EQ(found.reason, "nobody listens at " + path() + ": there is no socket");
  const Contacted below_a_file = Greeting("/proc/self/stat/x").answer(monotonic_now());
  EXPECT_EQ(below_a_file.contact, Contact::kNobody);
  const Contacted long_one = Greeting("/" + std::string(200, 'x')).answer(monotonic_now());
  EXPECT_EQ(long_one.contact, Contact::kNobody);
  EXPECT_THAT(long_one.reason, HasSubstr("longer than the path of a socket may be"));
}

TEST_F(Address, WithASocketThatAProgramHasLeftBehindHasNobody) {
  { const UniqueFd socket = listening(); }
  ASSERT_TRUE(std::filesystem::exists(path()));
  const Contacted found = ask();
  EXPECT_EQ(found.contact, Contact::kNobody);
  EXPECT_THAT(found.reason, HasSubstr("the program that made it has ended"));
}

TEST_F(Address, OfAFileHasNobody) {
  std::ofstream(path()) << "not a socket";
  const Contacted found = ask();
  EXPECT_EQ(found.contact, Contact::kNobody);
  EXPECT_THAT(found.reason, HasSubstr("it is no socket"));
}

TEST_F(Address, WhereNobodyAcceptsIsSilentInTime) {
  const UniqueFd socket = listening();
  const int64_t began = monotonic_now();
  const Contacted found = ask(kSecond / 5);
  EXPECT_GE(monotonic_now() - began, kSecond / 5);
  EXPECT_EQ(found.contact, Contact::kSilent);
  EXPECT_EQ(found.pid, ::getpid());
  EXPECT_FALSE(found.stopped);
  EXPECT_EQ(found.reason, pid_text() + "contact_test), which listens at " + path() +
                              ", does not answer as gRPC does");
}

TEST_F(Address, WhereTooManyWaitIsSilent) {
  const UniqueFd socket = listening(0);
  std::vector<std::unique_ptr<Greeting>> waiting;
  for (int i = 0; i < 8; ++i) waiting.push_back(std::make_unique<Greeting>(path()));
  const Contacted found = ask(kSecond / 5);
  EXPECT_EQ(found.contact, Contact::kSilent);
  EXPECT_THAT(found.reason, HasSubstr("takes no connections"));
}

TEST_F(Address, OfAStoppedProcessSaysSo) {
  int told[2];
  ASSERT_EQ(::pipe(told), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const UniqueFd socket = listening();  // whose process it is counts from listen()
    (void)!::write(told[1], "x", 1);
    ::pause();
    ::_exit(0);
  }
  char ready = 0;
  ASSERT_EQ(::read(told[0], &ready, 1), 1);
  ::close(told[0]);
  ::close(told[1]);
  ::kill(child, SIGSTOP);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, WUNTRACED), child);
  const Contacted found = ask(kSecond / 5);
  EXPECT_EQ(found.contact, Contact::kSilent);
  EXPECT_EQ(found.pid, child);
  EXPECT_TRUE(found.stopped);
  EXPECT_EQ(found.reason, "process " + std::to_string(child) +
                              " (contact_test), which listens at " + path() +
                              ", is stopped by a signal (SIGSTOP, say)");
  ::kill(child, SIGKILL);
  ::waitpid(child, &status, 0);
}

TEST_F(Address, WhereAnotherProtocolIsSpokenIsForeign) {
  const Contacted found = ask_one_that_says("HTTP/1.1 400 Bad Request\r\n\r\n");
  EXPECT_EQ(found.contact, Contact::kForeign);
  EXPECT_THAT(found.reason, HasSubstr(pid_text()));
  EXPECT_THAT(found.reason, HasSubstr(", does not speak gRPC"));
}

TEST_F(Address, WhereConnectionsEndWithoutAWordIsForeign) {
  const Contacted found = ask_one_that_says("");
  EXPECT_EQ(found.contact, Contact::kForeign);
  EXPECT_THAT(found.reason, HasSubstr("ends connections without a word"));
}

TEST_F(Address, OfAnotherKindOfSocketIsForeign) {
  const UniqueFd socket = listening(0, SOCK_DGRAM);
  EXPECT_EQ(ask().contact, Contact::kForeign);
}

}  // namespace
}  // namespace berth::proxy
