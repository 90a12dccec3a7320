// A proxied plugin as its callers on the bus see it. The other program is played by the host's own
// gRPC door, in this process, with handlers of the test's making behind it; where the other program
// is to be sick, by a bare socket.
#include "proxy/remote_service.h"

#include <berth/client.h>
#include <berth/server.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <thread>

#include "bus/host_table.h"
#include "kinds.pb.h"
#include "rpc/grpc_door.h"
#include "rpc/socket.h"

namespace berth::proxy {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr const char* kService = "berth.test.proxy.v1.Kinds";
constexpr uint32_t kUnary = 0;
constexpr uint32_t kResponses = 1;
constexpr uint32_t kRequests = 2;
constexpr uint32_t kBoth = 3;
const berth_method kMethods[] = {
    {str("Unary"), 0, 0},
    {str("Responses"), BERTH_METHOD_SERVER_STREAM, 0},
    {str("Requests"), BERTH_METHOD_CLIENT_STREAM, 0},
    {str("Both"), BERTH_METHOD_CLIENT_STREAM | BERTH_METHOD_SERVER_STREAM, 0}};
const berth_service kTable = {sizeof(berth_service), 4, str(kService), kMethods, {}};

using Handler = std::function<void(uint32_t method, ServerCall call)>;

/// What lives for ever on the bus is kept reachable, so that it is no leak.
template <typename T>
T* for_ever(std::unique_ptr<T> one) {
  static auto* kept = new std::vector<std::unique_ptr<T>>;
  return kept->emplace_back(std::move(one)).get();
}

void finish_with(ServerCall& call, std::string_view bytes) { call.finish(Message::copy_of(bytes)); }

std::string received(ClientCall& call) {
  Message message;
  return call.recv(&message) == BERTH_OK ? std::string(message.bytes()) : "(nothing)";
}

template <typename Condition>
bool eventually(const Condition& condition) {
  for (int i = 0; i < 1000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(10ms);
  }
  return false;
}

struct Answer {
  Status status;
  std::string bytes;
};

class Proxied : public ::testing::Test {
 protected:
  Proxied() : folder_(std::filesystem::temp_directory_path().string() + "/berth-proxy.XXXXXX") {
    EXPECT_NE(::mkdtemp(folder_.data()), nullptr);
    bus::host_table();
  }
  ~Proxied() override {
    end_remote();
    std::filesystem::remove_all(folder_);
  }

  std::string path() const { return folder_ + "/other.sock"; }

  /// The other program begins to listen; `handler` is its plugin.
  void begin_remote(Handler handler) {
    struct Plugin {
      Handler handler;
      bus::Target target{{"test.other", "test", "other", ""}};
    };
    Plugin* plugin = for_ever(std::make_unique<Plugin>());
    plugin->handler = std::move(handler);
    plugin->target.add_service(kTable);
    plugin->target.serve(
        [](void* self, uint32_t, uint32_t method, berth_call* call) {
          static_cast<Plugin*>(self)->handler(method, ServerCall(call));
        },
        plugin);
    plugin->target.ready();
    router_ = for_ever(std::make_unique<rpc::Router>());
    router_->add(plugin->target);
    router_->complete();
    rpc::GrpcDoorOptions options;
    options.address = path();
    options.uid = ::getuid();
    options.gid = ::getgid();
    auto door = rpc::GrpcDoor::open(options, *router_);
    ASSERT_TRUE(door.ok()) << door.status().message();
    door_ = *std::move(door);
  }
  void end_remote() {
    if (door_ == nullptr) return;
    door_->close(monotonic_now());
    door_.reset();
  }

  /// Our end of it.
  Target proxy(Remote remote) {
    remote.uri = "test.proxied";
    if (remote.address.empty()) remote.address = path();
    auto made = serve_remote("test", "proxied", std::move(remote), {kService});
    EXPECT_TRUE(made.ok()) << made.status().message();
    return Target(bus::handle_of(for_ever(std::unique_ptr<bus::Target>(*made))));
  }
  Target proxy() { return proxy(Remote{}); }

  static Answer ask(Target target, std::string_view request, const Context& context = {}) {
    const CallOptions options(context);
    const Message message = Message::copy_of(request);
    ClientCall call(detail::host->unary(target.raw(), kUnary, options.raw(), &message.raw()));
    Message reply;
    Answer answer;
    if (call.recv(&reply, 0) == BERTH_OK) answer.bytes = std::string(reply.bytes());
    answer.status = call.finish();
    return answer;
  }
  static ClientCall open(Target target, uint32_t method, const Context& context = {}) {
    return ClientCall::open(target, method, context);
  }

  std::string folder_;
  rpc::Router* router_ = nullptr;
  std::unique_ptr<rpc::GrpcDoor> door_;
};

// -- what passes
// -----------------------------------------------------------------------------------

TEST_F(Proxied, AUnaryCallPasses) {
  begin_remote([](uint32_t method, ServerCall call) {
    EXPECT_EQ(method, kUnary);
    finish_with(call, std::string(call.request_bytes()) + "!");
  });
  const Target target = proxy();
  EXPECT_EQ(target.resolve("berth.test.proxy.v1.Kinds/Unary"), kUnary);
  for (const char* text : {"hello", ""}) {
    const Answer answer = ask(target, text);
    EXPECT_TRUE(answer.status.ok()) << answer.status.to_string();
    EXPECT_EQ(answer.bytes, std::string(text) + "!");
  }
}

TEST_F(Proxied, AnEmptyResponseIsOne) {
  begin_remote([](uint32_t, ServerCall call) { finish_with(call, ""); });
  ClientCall call = open(proxy(), kUnary);
  EXPECT_EQ(call.send(Message::copy_of("x")), BERTH_OK);
  Message message;
  EXPECT_EQ(call.recv(&message), BERTH_OK);
  EXPECT_TRUE(call.finish().ok());
}

TEST_F(Proxied, AStatusPassesWhole) {
  begin_remote([](uint32_t, ServerCall call) {
    call.finish(Status(Code::kNotFound, "no such thing", "details"));
  });
  const Status status = ask(proxy(), "").status;
  EXPECT_EQ(status.code(), Code::kNotFound);
  EXPECT_THAT(status.message(), HasSubstr("no such thing"));
  EXPECT_EQ(status.details(), "details");
}

// A content store says so of a ref that is in use: its program runs.
TEST_F(Proxied, WhatTheRemoteCallsUnavailablePassesWhole) {
  begin_remote([](uint32_t method, ServerCall call) {
    if (method == kResponses) (void)call.send(Message::copy_of("one"));
    call.finish(Status(Code::kUnavailable, "ref x is locked", "details"));
  });
  const Status status = ask(proxy(), "").status;
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_THAT(status.message(), StartsWith("ref x is locked"));
  EXPECT_THAT(status.message(), Not(HasSubstr("its program")));
  EXPECT_EQ(status.details(), "details");
  ClientCall call = open(proxy(), kResponses);
  EXPECT_EQ(call.send(Message::copy_of("x")), BERTH_OK);
  call.half_close();
  EXPECT_EQ(received(call), "one");
  EXPECT_EQ(received(call), "(nothing)");
  EXPECT_THAT(call.finish().message(), StartsWith("ref x is locked"));
}

TEST_F(Proxied, AStreamOfResponsesPassesInOrderWithItsStatus) {
  begin_remote([](uint32_t method, ServerCall call) {
    EXPECT_EQ(method, kResponses);
    for (int i = 0; i < 300; ++i) {
      EXPECT_EQ(call.send(Message::copy_of(std::string(call.request_bytes()) + std::to_string(i))),
                BERTH_OK);
    }
    call.finish(Status(Code::kDataLoss, "no more"));
  });
  ClientCall call = open(proxy(), kResponses);
  EXPECT_EQ(call.send(Message::copy_of("n")), BERTH_OK);
  for (int i = 0; i < 300; ++i) ASSERT_EQ(received(call), "n" + std::to_string(i));
  const Status status = call.finish();
  EXPECT_EQ(status.code(), Code::kDataLoss);
}

TEST_F(Proxied, AStreamOfRequestsPasses) {
  begin_remote([](uint32_t method, ServerCall call) {
    EXPECT_EQ(method, kRequests);
    std::string all;
    Message message;
    while (call.recv(&message) == BERTH_OK) all += message.bytes();
    finish_with(call, all);
  });
  ClientCall call = open(proxy(), kRequests);
  for (const char* part : {"one ", "", "two ", "three"}) {
    EXPECT_EQ(call.send(Message::copy_of(part)), BERTH_OK);
  }
  call.half_close();
  EXPECT_EQ(received(call), "one two three");
  EXPECT_TRUE(call.finish().ok());
}

TEST_F(Proxied, BothStreamsPassAtOnce) {
  begin_remote([](uint32_t, ServerCall call) {
    Message message;
    while (call.recv(&message) == BERTH_OK) {
      EXPECT_EQ(call.send(Message::copy_of(std::string(message.bytes()) + "!")), BERTH_OK);
    }
    call.finish(Status());
  });
  ClientCall call = open(proxy(), kBoth);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(call.send(Message::copy_of(std::to_string(i))), BERTH_OK);
    ASSERT_EQ(received(call), std::to_string(i) + "!");
  }
  call.half_close();
  EXPECT_TRUE(call.finish().ok());
}

TEST_F(Proxied, ManyCallsAtOnceDoNotMix) {
  begin_remote([](uint32_t, ServerCall call) { finish_with(call, call.request_bytes()); });
  const Target target = proxy();
  std::vector<std::future<int>> callers;
  for (int caller = 0; caller < 8; ++caller) {
    callers.push_back(std::async(std::launch::async, [&, caller] {
      int wrong = 0;
      for (int i = 0; i < 50; ++i) {
        const std::string text = std::to_string(caller) + " " + std::to_string(i);
        wrong += ask(target, text).bytes == text ? 0 : 1;
      }
      return wrong;
    }));
  }
  for (auto& caller : callers) EXPECT_EQ(caller.get(), 0);
}

// -- headers
// ---------------------------------------------------------------------------------------

/// "KEY=VALUE" of those that the test sets or the host may add.
std::string headers_of(const ServerCall& call) {
  std::string all;
  for (const char* key : {"berth-accept-fds", "containerd-lease", "containerd-namespace",
                          "grpc-timeout", "traceparent", "user-agent"}) {
    const std::string_view value = call.context().header(key);
    if (!value.empty()) all += std::string(key) + "=" + std::string(value) + " ";
  }
  return all;
}

TEST_F(Proxied, HeadersPassButThoseOfOneHopAndOfThisDaemon) {
  begin_remote([](uint32_t, ServerCall call) { finish_with(call, headers_of(call)); });
  const Context context = Context()
                              .with_ns("moby")
                              .with("traceparent", "00-1")
                              .with("berth-accept-fds", "1")
                              .with(kLeaseHeader, "a-lease");
  EXPECT_THAT(ask(proxy(), "", context).bytes,
              AllOf(HasSubstr("containerd-namespace=moby "), HasSubstr("traceparent=00-1 "),
                    ::testing::Not(HasSubstr("lease")), ::testing::Not(HasSubstr("berth-"))));
}

TEST_F(Proxied, ANamespaceOfItsOwnReplacesTheCallers) {
  begin_remote([](uint32_t, ServerCall call) { finish_with(call, headers_of(call)); });
  Remote remote;
  remote.ns = "theirs";
  const Target target = proxy(std::move(remote));
  for (const Context& context : {Context().with_ns("moby"), Context()}) {
    const std::string seen = ask(target, "", context).bytes;
    EXPECT_THAT(seen, HasSubstr("containerd-namespace=theirs "));
    EXPECT_THAT(seen, ::testing::Not(HasSubstr("moby")));
  }
}

// -- ends
// ------------------------------------------------------------------------------------------

TEST_F(Proxied, ADeadlinePassesAndEndsBothSides) {
  std::atomic<int64_t> deadline = 0;
  std::atomic<bool> ended = false;
  begin_remote([&](uint32_t, ServerCall call) {
    deadline = call.context().deadline();
    while (!call.cancelled()) std::this_thread::sleep_for(5ms);
    ended = true;
    call.finish(Status(Code::kCancelled, "given up"));
  });
  const int64_t wanted = monotonic_now() + 300'000'000;
  const Answer answer = ask(proxy(), "", Context().with_timeout(300ms));
  EXPECT_EQ(answer.status.code(), Code::kDeadlineExceeded) << answer.status.to_string();
  EXPECT_TRUE(eventually([&] { return ended.load(); }));
  EXPECT_NEAR(static_cast<double>(deadline), static_cast<double>(wanted), 250e6);
}

/// Ends a call in the way that it is given while the remote handler is at work, of each kind.
class Ending : public Proxied, public ::testing::WithParamInterface<uint32_t> {
 protected:
  void end_by(const std::function<void(ClientCall&)>& way) {
    std::atomic<bool> began = false, ended = false;
    begin_remote([&](uint32_t, ServerCall call) {
      began = true;
      while (!call.cancelled()) std::this_thread::sleep_for(2ms);
      ended = true;
      call.finish(Status(Code::kCancelled, "seen"));
    });
    {
      ClientCall call = open(proxy(), GetParam());
      if (GetParam() == kUnary || GetParam() == kResponses) {
        EXPECT_EQ(call.send(Message::copy_of("x")), BERTH_OK);
      }
      ASSERT_TRUE(eventually([&] { return began.load(); }));
      way(call);
    }
    EXPECT_TRUE(eventually([&] { return ended.load(); })) << "the remote was not told";
  }
};
INSTANTIATE_TEST_SUITE_P(Kinds, Ending, ::testing::Values(kUnary, kResponses, kRequests, kBoth));

TEST_P(Ending, ACancelReachesTheRemote) {
  end_by([](ClientCall& call) {
    call.cancel();
    EXPECT_EQ(call.finish().code(), Code::kCancelled);
  });
}

TEST_P(Ending, AClientThatGoesAwayIsACancel) {
  end_by([](ClientCall& call) { call = ClientCall(); });
}

TEST_P(Ending, TheRemotesEndEndsTheCall) {
  std::atomic<bool> began = false;
  begin_remote([&](uint32_t, ServerCall call) {
    began = true;
    while (!call.cancelled()) std::this_thread::sleep_for(2ms);
    call.finish(Status(Code::kCancelled, "given up"));
  });
  ClientCall call = open(proxy(), GetParam());
  if (GetParam() == kUnary || GetParam() == kResponses) {
    EXPECT_EQ(call.send(Message::copy_of("x")), BERTH_OK);
  }
  ASSERT_TRUE(eventually([&] { return began.load(); }));
  end_remote();
  const Status status = call.finish();
  EXPECT_FALSE(status.ok());
  EXPECT_NE(status.code(), Code::kInternal) << status.to_string();
}

TEST_F(Proxied, AnAnswerBeforeTheRequestsEndIsNotWaitedFor) {
  begin_remote([](uint32_t method, ServerCall call) {
    if (method == kRequests) return finish_with(call, "enough");
    call.finish(Status(Code::kAlreadyExists, "enough"));
  });
  ClientCall requests = open(proxy(), kRequests);
  EXPECT_EQ(received(requests), "enough");
  EXPECT_TRUE(requests.finish().ok());
  ClientCall both = open(proxy(), kBoth);
  EXPECT_EQ(both.finish().code(), Code::kAlreadyExists);
}

TEST_F(Proxied, WhatNobodyReadsHoldsTheRemoteBack) {
  std::atomic<int> sent = 0;
  begin_remote([&](uint32_t, ServerCall call) {
    const std::string piece(1 << 20, 'x');
    while (sent < 200 && call.send(Message::copy_of(piece)) == BERTH_OK) ++sent;
    call.finish(Status());
  });
  ClientCall call = open(proxy(), kResponses);
  EXPECT_EQ(call.send(Message::copy_of("x")), BERTH_OK);
  int before = -1;
  while (before != sent.load()) {  // until it does not move any more
    before = sent.load();
    std::this_thread::sleep_for(300ms);
  }
  EXPECT_LT(before, 50) << "MiB were taken from the remote and read by nobody";
  int got = 0;
  Message message;
  while (call.recv(&message) == BERTH_OK) ++got;
  EXPECT_EQ(got, 200);
  EXPECT_TRUE(call.finish().ok());
}

// -- sizes
// -----------------------------------------------------------------------------------------

TEST_F(Proxied, LargeMessagesPassUpToTheLimit) {
  begin_remote([](uint32_t, ServerCall call) { finish_with(call, call.request_bytes()); });
  Remote remote;
  remote.max_receive_bytes = remote.max_send_bytes = 12 << 20;
  const Target target = proxy(std::move(remote));
  const std::string large(11 << 20, 'x');
  EXPECT_TRUE(ask(target, large).bytes == large);
  const Status refused = ask(target, std::string(13 << 20, 'x')).status;
  EXPECT_EQ(refused.code(), Code::kResourceExhausted) << refused.to_string();
  EXPECT_EQ(ask(target, "small").bytes, "small") << "after a refusal";
}

TEST_F(Proxied, AResponseAboveTheLimitIsRefused) {
  begin_remote([](uint32_t, ServerCall call) { finish_with(call, std::string(2 << 20, 'x')); });
  Remote remote;
  remote.max_receive_bytes = 1 << 20;
  const Answer answer = ask(proxy(std::move(remote)), "x");
  EXPECT_EQ(answer.status.code(), Code::kResourceExhausted) << answer.status.to_string();
  EXPECT_EQ(answer.bytes, "");
}

// -- a remote that is not there, or sick
// -----------------------------------------------------------

TEST_F(Proxied, NobodyThereIsSaidAtOnceAndHealsByItself) {
  const Target target = proxy();
  for (int round = 0; round < 2; ++round) {
    const int64_t began = monotonic_now();
    const Status status = ask(target, "x").status;
    EXPECT_LT(monotonic_now() - began, 5'000'000'000);
    EXPECT_EQ(status.code(), Code::kUnavailable);
    EXPECT_THAT(status.message(),
                AllOf(HasSubstr("berth.test.proxy.v1.Kinds/Unary"), HasSubstr("test.proxied"),
                      HasSubstr(path()), HasSubstr("see that its program runs")));
    begin_remote([](uint32_t, ServerCall call) { finish_with(call, "back"); });
    // The first call may still meet the connection that broke; nobody waits for pauses between
    // two tries.
    (void)ask(target, "x");
    EXPECT_EQ(ask(target, "x").bytes, "back");
    end_remote();
    EXPECT_TRUE(eventually([&] { return ask(target, "x").status.code() == Code::kUnavailable; }));
  }
}

/// Accepts connections and does what it is told with each.
class BareRemote {
 public:
  BareRemote(const std::string& path, rpc::Acceptor::Accepted accepted)
      : acceptor_(*rpc::listen_unix(path, ::getuid(), ::getgid()), path, std::move(accepted)) {}

 private:
  rpc::Acceptor acceptor_;
};

TEST_F(Proxied, ARemoteThatHangsUpIsUnavailable) {
  const BareRemote remote(path(), [](const UniqueFd&) {});
  const Status status = ask(proxy(), "x", Context().with_timeout(10s)).status;
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_THAT(status.message(), HasSubstr("see that its program runs"));
}

TEST_F(Proxied, ARemoteThatSpeaksAnotherLanguageIsUnavailable) {
  std::vector<UniqueFd> connections;  // of the acceptor's thread, until it has ended
  {
    const BareRemote remote(path(), [&](UniqueFd connection) {
      constexpr std::string_view kText = "220 mail.example.org at your service\r\n";
      (void)::send(connection.get(), kText.data(), kText.size(), MSG_NOSIGNAL);
      connections.push_back(std::move(connection));
    });
    EXPECT_EQ(ask(proxy(), "x", Context().with_timeout(10s)).status.code(), Code::kUnavailable);
  }
}

TEST_F(Proxied, ARemoteThatSaysNothingCostsTheDeadlineOrACancel) {
  std::vector<UniqueFd> connections;
  {
    const BareRemote remote(
        path(), [&](UniqueFd connection) { connections.push_back(std::move(connection)); });
    const Target target = proxy();
    const int64_t began = monotonic_now();
    EXPECT_EQ(ask(target, "x", Context().with_timeout(500ms)).status.code(),
              Code::kDeadlineExceeded);
    EXPECT_LT(monotonic_now() - began, 10'000'000'000);
    ClientCall call = open(target, kBoth);
    call.cancel();
    EXPECT_EQ(call.finish().code(), Code::kCancelled);
  }
}

// -- refusals
// --------------------------------------------------------------------------------------

TEST_F(Proxied, AnAddressMayHaveItsScheme) {
  begin_remote([](uint32_t, ServerCall call) { finish_with(call, "yes"); });
  Remote remote;
  remote.address = "unix://" + path();
  EXPECT_EQ(ask(proxy(std::move(remote)), "x").bytes, "yes");
}

TEST(ServeRemote, RefusesWhatIsNoAddress) {
  for (const char* address : {"", "relative.sock", "unix:", "unix://", "unix://relative.sock",
                              "tcp://127.0.0.1:1", "vsock://1:2"}) {
    Remote remote;
    remote.uri = "test.proxied";
    remote.address = address;
    const auto made = serve_remote("test", "proxied", std::move(remote), {kService});
    ASSERT_FALSE(made.ok()) << address;
    EXPECT_EQ(made.status().code(), Code::kInvalidArgument);
    EXPECT_THAT(made.status().message(),
                AllOf(HasSubstr("test.proxied"), HasSubstr("\"" + std::string(address) + "\"")));
  }
}

TEST(ServeRemote, RefusesAServiceThatTheApiDoesNotHave) {
  Remote remote;
  remote.uri = "test.proxied";
  remote.address = "/x.sock";
  const auto made = serve_remote("test", "proxied", std::move(remote), {"no.such.Service"});
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.status().code(), Code::kNotFound);
  EXPECT_THAT(made.status().message(), HasSubstr("no.such.Service"));
}

}  // namespace
}  // namespace berth::proxy
