// Client and server against each other over real sockets, and against hand-made bytes.
#include <berth/ttrpc.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <atomic>
#include <filesystem>
#include <future>

namespace berth::ttrpc {
namespace {

using namespace std::chrono_literals;

int64_t in(std::chrono::nanoseconds time) { return monotonic_ns() + time.count(); }

class TtrpcCall : public testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/berth-ttrpc-XXXXXX";
    ASSERT_NE(::mkdtemp(path), nullptr);
    directory_ = path;
    auto loop = Loop::start();
    ASSERT_TRUE(loop.ok());
    loop_ = *loop;
  }
  void TearDown() override {
    server_.reset();
    std::filesystem::remove_all(directory_);
  }
  std::string socket_path() const { return directory_ + "/s"; }

  void serve(Server::Handler handler, ServerLimits limits = {}) {
    auto listening = listen_unix(socket_path(), 0600);
    ASSERT_TRUE(listening.ok()) << listening.status().to_string();
    auto server = Server::serve(loop_, std::move(*listening), std::move(handler), limits);
    ASSERT_TRUE(server.ok()) << server.status().to_string();
    server_ = std::move(*server);
  }
  std::shared_ptr<Client> connect() {
    auto client = Client::connect(loop_, socket_path());
    EXPECT_TRUE(client.ok()) << client.status().to_string();
    return *client;
  }

  std::string directory_;
  std::shared_ptr<Loop> loop_;
  std::unique_ptr<Server> server_;
};

void echo(const Request& request, const Responder& responder) {
  std::string reply = request.service + "/" + request.method + ":" + request.payload;
  for (const auto& [key, value] : request.metadata) reply += ";" + key + "=" + value;
  responder.finish({}, reply);
}

TEST_F(TtrpcCall, CarriesPayloadMetadataAndTimeout) {
  std::atomic<int64_t> timeout = 0;
  serve([&](const Request& request, const Responder& responder) {
    timeout = request.timeout_ns;
    EXPECT_EQ(request.peer.pid, ::getpid());
    EXPECT_EQ(request.peer.uid, ::getuid());
    echo(request, responder);
  });
  const auto client = connect();
  std::string reply;
  ASSERT_TRUE(client->call("s", "m", "p", {in(10s), {{"k", "v"}}}, &reply).ok());
  EXPECT_EQ(reply, "s/m:p;k=v");
  EXPECT_GT(timeout, 9'000'000'000);
  EXPECT_LE(timeout, 10'000'000'000);
}

TEST_F(TtrpcCall, KeepsCodeAndTextOfAFailure) {
  serve([](const Request&, const Responder& responder) { responder.finish(not_found("no x")); });
  const Status status = connect()->call("s", "m", "", {}, nullptr);
  EXPECT_EQ(status.code(), Code::kNotFound);
  EXPECT_EQ(status.message(), "no x");
}

TEST_F(TtrpcCall, ManyCallsAtOnceAreAnsweredInAnyOrder) {
  std::mutex mutex;
  std::vector<std::pair<Request, Responder>> waiting;
  constexpr int kCalls = 200;
  serve([&](Request request, Responder responder) {
    const std::lock_guard lock(mutex);
    waiting.emplace_back(std::move(request), std::move(responder));
    if (waiting.size() < kCalls) return;
    for (auto call = waiting.rbegin(); call != waiting.rend(); ++call)
      echo(call->first, call->second);
    waiting.clear();
  });
  const auto client = connect();
  std::vector<std::promise<std::string>> replies(kCalls);
  for (size_t i = 0; i < kCalls; ++i) {
    client->call_async("s", "m", std::to_string(i), {},
                       [&, i](const Status& status, std::string reply) {
                         replies[i].set_value(status.ok() ? std::move(reply) : status.to_string());
                       });
  }
  for (size_t i = 0; i < kCalls; ++i) {
    auto reply = replies[i].get_future();
    ASSERT_EQ(reply.wait_for(10s), std::future_status::ready) << i;
    EXPECT_EQ(reply.get(), "s/m:" + std::to_string(i));
  }
}

TEST_F(TtrpcCall, DeadlineAndCancellationEndTheWaiting) {
  std::vector<Responder> kept;
  serve([&](const Request&, Responder responder) { kept.push_back(std::move(responder)); });
  const auto client = connect();
  Status status = client->call("s", "m", "", {in(30ms), {}}, nullptr);
  EXPECT_EQ(status.code(), Code::kDeadlineExceeded);
  EXPECT_NE(status.message().find("s/m"), std::string::npos) << status.message();
  const auto start = std::chrono::steady_clock::now();
  status = client->call("s", "m", "", {}, nullptr,
                        [&] { return std::chrono::steady_clock::now() - start > 30ms; });
  EXPECT_EQ(status.code(), Code::kCancelled);
  EXPECT_EQ(client->call("s", "m", "", {monotonic_ns() - 1, {}}, nullptr).code(),
            Code::kDeadlineExceeded);
  server_.reset();
}

TEST_F(TtrpcCall, LateAnswerOfACancelledCallDisturbsNobody) {
  std::vector<Responder> kept;
  serve([&](const Request& request, Responder responder) {
    if (request.method == "Slow") return kept.push_back(std::move(responder));
    for (const Responder& late : kept) late.finish({}, "late");
    kept.clear();
    responder.finish({}, "now");
  });
  const auto client = connect();
  EXPECT_EQ(client->call("s", "Slow", "", {in(10ms), {}}, nullptr).code(), Code::kDeadlineExceeded);
  std::string reply;
  ASSERT_TRUE(client->call("s", "Fast", "", {}, &reply).ok());
  EXPECT_EQ(reply, "now");
}

TEST_F(TtrpcCall, LostConnectionFailsEverythingUnderWay) {
  std::promise<Responder> arrived;
  serve([&](const Request&, Responder responder) { arrived.set_value(std::move(responder)); });
  const auto client = connect();
  std::promise<Status> failed;
  std::promise<Status> closed;
  client->on_close([&](const Status& reason) { closed.set_value(reason); });
  client->call_async("s", "m", "", {},
                     [&](const Status& status, const std::string&) { failed.set_value(status); });
  const Responder responder = arrived.get_future().get();
  server_.reset();
  const Status status = failed.get_future().get();
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_EQ(status.message(), "ttrpc: closed");
  EXPECT_EQ(closed.get_future().get().code(), Code::kUnavailable);
  EXPECT_TRUE(responder.abandoned());
  EXPECT_EQ(client->call("s", "m", "", {}, nullptr).message(), "ttrpc: closed");
  std::promise<Status> again;
  client->on_close([&](const Status& reason) { again.set_value(reason); });
  EXPECT_EQ(again.get_future().get().code(), Code::kUnavailable);
}

TEST_F(TtrpcCall, LargestMessagePassesAndALargerOneIsRefused) {
  serve(echo);
  const auto client = connect();
  const std::string large((4u << 20) - 100, 'x');
  std::string reply;
  ASSERT_TRUE(client->call("s", "m", large, {}, &reply).ok());
  EXPECT_EQ(reply.size(), large.size() + 4);
  EXPECT_EQ(client->call("s", "m", std::string(4u << 20, 'x'), {}, &reply).code(),
            Code::kResourceExhausted);
  ASSERT_TRUE(client->call("s", "m", "small", {}, &reply).ok());
  EXPECT_EQ(reply, "s/m:small");
}

TEST_F(TtrpcCall, AnswerThatIsTooLongBecomesAnError) {
  serve([](const Request&, const Responder& responder) {
    responder.finish({}, std::string(5u << 20, 'x'));
  });
  EXPECT_EQ(connect()->call("s", "m", "", {}, nullptr).code(), Code::kResourceExhausted);
}

TEST_F(TtrpcCall, RequestThatNobodyAnswersIsAnsweredInternal) {
  serve([](const Request&, const Responder&) {});
  EXPECT_EQ(connect()->call("s", "m", "", {}, nullptr).code(), Code::kInternal);
}

TEST_F(TtrpcCall, AbandonedRequestTellsItsHandler) {
  std::promise<void> abandoned;
  std::promise<Responder> arrived;
  serve([&](const Request&, Responder responder) {
    responder.on_abandoned([&] { abandoned.set_value(); });
    arrived.set_value(std::move(responder));
  });
  auto client = connect();
  client->call_async("s", "m", "", {}, [](const Status&, const std::string&) {});
  const Responder responder = arrived.get_future().get();
  client->close();
  EXPECT_EQ(abandoned.get_future().wait_for(10s), std::future_status::ready);
  responder.finish({}, "too late");
}

TEST_F(TtrpcCall, HeldBackPeerIsServedInTheEnd) {
  ServerLimits limits;
  limits.requests = 2;
  std::mutex mutex;
  std::vector<Responder> waiting;
  size_t most = 0;
  serve(
      [&](const Request&, Responder responder) {
        const std::lock_guard lock(mutex);
        waiting.push_back(std::move(responder));
        most = std::max(most, waiting.size());
      },
      limits);
  const auto client = connect();
  std::atomic<int> answered = 0;
  for (int i = 0; i < 20; ++i) {
    client->call_async("s", "m", std::string(100'000, 'x'), {},
                       [&](const Status& status, const std::string&) { answered += status.ok(); });
  }
  for (int i = 0; i < 2000 && answered < 20; ++i) {
    std::this_thread::sleep_for(2ms);
    std::vector<Responder> batch;
    {
      const std::lock_guard lock(mutex);
      batch.swap(waiting);
    }
    for (const Responder& responder : batch) responder.finish({}, "");
  }
  EXPECT_EQ(answered, 20);
  // A read may bring several small frames at once; here each fills a read, so one more than the
  // limit at most.
  EXPECT_LE(most, 4u);
}

// A client of bytes, for what the client class never sends.
class RawPeer {
 public:
  explicit RawPeer(const std::string& path)
      : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  void send(uint32_t stream, uint8_t type, uint8_t flags, std::string_view payload) {
    std::string bytes;
    ASSERT_TRUE(append_frame(stream, type, flags, payload, &bytes).ok());
    send_bytes(bytes);
  }
  void send_bytes(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
  }
  /// The next frame; nothing when the peer has closed.
  std::optional<Frame> receive() {
    while (frames_.empty()) {
      char buffer[4096];
      const ssize_t got = ::recv(socket_.get(), buffer, sizeof buffer, 0);
      if (got <= 0) return std::nullopt;
      parser_.feed({buffer, static_cast<size_t>(got)},
                   [&](Frame frame) { frames_.push_back(std::move(frame)); });
    }
    Frame frame = std::move(frames_.front());
    frames_.pop_front();
    return frame;
  }

 private:
  UniqueFd socket_;
  FrameParser parser_;
  std::deque<Frame> frames_;
};

TEST_F(TtrpcCall, StreamsDataBothWays) {
  serve([](const Request& request, const Responder& responder) {
    EXPECT_TRUE(request.remote_open);
    auto sum = std::make_shared<std::string>();
    responder.on_data([responder, sum](const Data& data) {
      if (data.has_message) {
        *sum += data.payload;
        EXPECT_TRUE(responder.send("got " + data.payload).ok());
      }
      if (data.end) responder.finish({}, *sum);
    });
  });
  RawPeer peer(socket_path());
  peer.send(1, kRequest, kRemoteOpen, encode(RequestEnvelope{"s", "Stream", "", 0, {}}));
  peer.send(1, kData, 0, "a");
  peer.send(1, kData, 0, "b");
  peer.send(1, kData, kNoData | kRemoteClosed, "");
  EXPECT_EQ(peer.receive()->payload, "got a");
  EXPECT_EQ(peer.receive()->payload, "got b");
  const auto last = peer.receive();
  ASSERT_TRUE(last.has_value());
  EXPECT_EQ(last->type, kResponse);
  ResponseEnvelope response;
  ASSERT_TRUE(decode(last->payload, &response).ok());
  EXPECT_EQ(response.payload, "ab");
}

TEST_F(TtrpcCall, BadFramesAreAnsweredAndTheConnectionLives) {
  serve(echo);
  RawPeer peer(socket_path());
  const auto answer = [&]() -> Status {
    const auto frame = peer.receive();
    if (!frame) return cancelled("closed");
    ResponseEnvelope response;
    EXPECT_TRUE(decode(frame->payload, &response).ok());
    return response.status;
  };
  peer.send(1, kRequest, 0, "\xff\xff");
  EXPECT_EQ(answer().code(), Code::kInvalidArgument);
  peer.send(2, kRequest, 0, "");
  EXPECT_EQ(answer().code(), Code::kInvalidArgument);
  std::string oversized("\0\x40\0\1\0\0\0\3\1\0", 10);
  oversized.append(kMaxPayload + 1, 'z');
  peer.send_bytes(oversized);
  EXPECT_EQ(answer().code(), Code::kResourceExhausted);
  peer.send(5, kRequest, 0, encode(RequestEnvelope{"s", "m", "", 0, {}}));
  EXPECT_TRUE(answer().ok());
  peer.send(7, 99, 0, "a frame of the future");
  peer.send(9, kRequest, 0, encode(RequestEnvelope{"s", "m", "", 0, {}}));
  EXPECT_TRUE(answer().ok());
}

TEST_F(TtrpcCall, SocketFileHasItsModeAndAStaleOneIsReplaced) {
  serve(echo);
  struct stat found {};
  ASSERT_EQ(::stat(socket_path().c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777, 0600u);
  server_.reset();
  EXPECT_EQ(Client::connect(loop_, socket_path()).status().code(), Code::kUnavailable);
  serve(echo);
  EXPECT_TRUE(connect()->call("s", "m", "", {}, nullptr).ok());
  EXPECT_EQ(Client::connect(loop_, directory_ + "/none").status().code(), Code::kNotFound);
}

TEST_F(TtrpcCall, ManyConnectionsShareOneThread) {
  const auto threads = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/task"),
                         std::filesystem::directory_iterator());
  };
  serve(echo);
  const auto before = threads();
  std::vector<std::shared_ptr<Client>> clients;
  for (int i = 0; i < 100; ++i) clients.push_back(connect());
  for (const auto& client : clients) ASSERT_TRUE(client->call("s", "m", "", {}, nullptr).ok());
  EXPECT_LE(threads(), before);  // fewer: a joined thread of an earlier test may be listed a while
  EXPECT_EQ(server_->connections(), 100u);
}

TEST(Loop, TimersRunInOrderAndCanBeTakenBack) {
  const auto loop = *Loop::start();
  std::promise<std::string> done;
  std::string order;
  loop->at(in(20ms), [&] { order += "b"; });
  const Loop::Id dropped = loop->at(in(15ms), [&] { order += "x"; });
  loop->at(in(10ms), [&] { order += "a"; });
  EXPECT_TRUE(loop->cancel(dropped));
  EXPECT_FALSE(loop->cancel(dropped));
  loop->at(in(30ms), [&] { done.set_value(order); });
  EXPECT_EQ(done.get_future().get(), "ab");
}

}  // namespace
}  // namespace berth::ttrpc
