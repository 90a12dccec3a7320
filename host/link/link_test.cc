// Two ends of a link in one process: the rules of abi.h must hold across it as they do without it.
#include "link/link.h"

#include <berth/server.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <atomic>
#include <condition_variable>
#include <future>
#include <thread>

#include "bus/host_table.h"

namespace berth::link {
namespace {

using ::testing::HasSubstr;
using Handler = std::function<void(uint32_t method, ServerCall call)>;

constexpr int64_t kSecond = 1'000'000'000;
constexpr uint32_t kUnary = 0, kServerStream = 1, kClientStream = 2, kBidi = 3;
const berth_method kMethods[] = {
    {str("Unary"), 0, 0},
    {str("ServerStream"), BERTH_METHOD_SERVER_STREAM, 0},
    {str("ClientStream"), BERTH_METHOD_CLIENT_STREAM, 0},
    {str("Bidi"), BERTH_METHOD_CLIENT_STREAM | BERTH_METHOD_SERVER_STREAM, 0}};
const berth_service kService = {sizeof(berth_service), 4, str("test.Test"), kMethods, {}};

/// Targets and links live for ever, as in the daemon; reachable, so that none is a leak.
template <typename T>
T* keep(T* one) {
  static auto* all = new std::vector<std::unique_ptr<T>>;
  return all->emplace_back(one).get();
}

struct Plugin {
  explicit Plugin(Handler one) : handler(std::move(one)), target({"test.x", "test", "x", ""}) {
    bus::host_table();
    target.add_service(kService);
    target.serve(
        [](void* self, uint32_t, uint32_t method, berth_call* call) {
          static_cast<Plugin*>(self)->handler(method, ServerCall(call));
        },
        this);
    target.ready();
  }
  Handler handler;
  bus::Target target;
};

/// A plugin that is reached through a link only: `near` is what its callers see.
struct Pair {
  explicit Pair(Handler handler) : plugin(keep(new Plugin(std::move(handler)))) {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    near = std::make_shared<Link>(UniqueFd(ends[0]), hooks());
    far = std::make_shared<Link>(UniqueFd(ends[1]), hooks());
    far->offer({&plugin->target});
    near->start();
    far->start();
    target = keep(make_remote_target(
        {"test.x", "test", "x", ""}, services_of(plugin->target),
        [link = near](uint32_t method, bus::Call* call) { link->pass(0, method, call); }));
    target->ready();
  }
  ~Pair() {
    near->close("the test is over");
    (void)plugin->target.wait_idle(monotonic_now() + 5 * kSecond);
  }
  static Link::Hooks hooks() {
    return {[](Frame) { return Status(); },
            [](const Status& why) { return unavailable("link: " + why.message()); }};
  }
  berth::Target client() const { return berth::Target(bus::handle_of(target)); }

  Plugin* plugin;
  std::shared_ptr<Link> near, far;
  bus::Target* target;
};

struct Answer {
  Status status;
  std::string bytes;
};

Answer call(const Pair& pair, const std::string& request, const Context& context = {}) {
  const CallOptions options(context);
  const Message message = Message::copy_of(request);
  ClientCall one(detail::host->unary(pair.client().raw(), kUnary, options.raw(), &message.raw()));
  Message reply;
  Answer answer;
  if (one.recv(&reply, 0) == BERTH_OK) answer.bytes = std::string(reply.bytes());
  answer.status = one.finish();
  return answer;
}

TEST(Link, UnaryCallsOfAnySize) {
  const Pair pair([](uint32_t, ServerCall one) {
    one.finish(Message::copy_of(std::string(one.request_bytes()) + "!"));
  });
  for (const size_t size : {0UL, 1UL, 1000UL, 100'000UL, 20'000'000UL}) {
    const std::string request(size, 'x');
    const Answer answer = call(pair, request);
    EXPECT_TRUE(answer.status.ok()) << answer.status.to_string();
    EXPECT_TRUE(answer.bytes == request + "!") << size;
  }
}

TEST(Link, HeadersDeadlineAndPeerGoAlong) {
  const Pair pair([](uint32_t, ServerCall one) {
    const Context context = one.context();
    one.finish(Message::copy_of(std::string(context.header("key")) + "/" +
                                std::to_string(context.deadline())));
  });
  const Context context = Context().with("key", "value").with_timeout(std::chrono::seconds(100));
  EXPECT_EQ(call(pair, "", context).bytes, "value/" + std::to_string(context.deadline()));
}

TEST(Link, StatusCarriesCodeMessageAndDetails) {
  const Pair pair([](uint32_t, ServerCall one) {
    one.finish(Status(Code::kNotFound, "no such thing", std::string("det\0ils", 7)));
  });
  const Status status = call(pair, "").status;
  EXPECT_EQ(status.code(), Code::kNotFound);
  EXPECT_EQ(status.message(), "no such thing");
  EXPECT_EQ(status.details(), std::string("det\0ils", 7));
}

TEST(Link, ServerStreamInOrderUnderFlowControl) {
  // Twelve times what may be under way, and a reader that comes late.
  constexpr int kMessages = 60;
  std::atomic<int> sent = 0;
  const Pair pair([&](uint32_t, ServerCall one) {
    for (int i = 0; i < kMessages; ++i) {
      Message message = Message::with_size(1 << 20);
      std::memset(message.data(), i, 1 << 20);
      if (one.send(std::move(message)) != BERTH_OK) return;
      ++sent;
    }
    one.finish(Status());
  });
  ClientCall one = ClientCall::open(pair.client(), kServerStream, Context());
  EXPECT_EQ(one.send(Message::copy_of("go")), BERTH_OK);
  one.half_close();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_LT(sent, 20) << "what nobody reads piles up";
  Message message;
  int got = 0;
  while (one.recv(&message, 10 * kSecond) == BERTH_OK) {
    ASSERT_EQ(message.bytes().size(), 1U << 20);
    ASSERT_EQ(message.bytes()[77], static_cast<char>(got));
    ++got;
  }
  EXPECT_EQ(got, kMessages);
  EXPECT_TRUE(one.finish().ok());
}

TEST(Link, ClientStreamIsSummed) {
  const Pair pair([](uint32_t, ServerCall one) {
    Message message;
    uint64_t bytes = 0;
    while (one.recv(&message) == BERTH_OK) bytes += message.bytes().size();
    one.finish(Message::copy_of(std::to_string(bytes)));
  });
  ClientCall one = ClientCall::open(pair.client(), kClientStream, Context());
  for (int i = 0; i < 30'000; ++i) {
    ASSERT_EQ(one.send(Message::copy_of("0123456789"), 10 * kSecond), BERTH_OK);
  }
  one.half_close();
  Message reply;
  ASSERT_EQ(one.recv(&reply, 10 * kSecond), BERTH_OK);
  EXPECT_EQ(reply.bytes(), "300000");
  EXPECT_TRUE(one.finish().ok());
}

TEST(Link, BidiFromManyThreads) {
  const Pair pair([](uint32_t, ServerCall one) {
    Message message;
    while (one.recv(&message) == BERTH_OK) {
      if (one.send(std::move(message)) != BERTH_OK) return;
    }
    one.finish(Status());
  });
  std::vector<std::thread> clients;
  std::atomic<int> whole = 0;
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back([&, i] {
      ClientCall one = ClientCall::open(pair.client(), kBidi, Context());
      for (int turn = 0; turn < 300; ++turn) {
        const std::string text = std::to_string(i) + ":" + std::to_string(turn);
        Message reply;
        if (one.send(Message::copy_of(text)) != BERTH_OK) return;
        if (one.recv(&reply) != BERTH_OK || reply.bytes() != text) return;
      }
      one.half_close();
      if (one.finish().ok()) ++whole;
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(whole, 8);
}

TEST(Link, CancelReachesTheHandler) {
  std::promise<void> began, seen;
  const Pair pair([&](uint32_t, ServerCall one) {
    began.set_value();
    Message message;
    EXPECT_EQ(one.recv(&message, 10 * kSecond), BERTH_CANCELLED);
    EXPECT_TRUE(one.cancelled());
    seen.set_value();
  });
  ClientCall one = ClientCall::open(pair.client(), kBidi, Context());
  began.get_future().wait();
  one.cancel();
  EXPECT_EQ(one.finish().code(), Code::kCancelled);
  EXPECT_EQ(seen.get_future().wait_for(std::chrono::seconds(10)), std::future_status::ready);
}

TEST(Link, ADeadlineEndsACallThatHangs) {
  std::promise<void> let_go;
  auto gone = let_go.get_future().share();
  const Pair pair([gone](uint32_t, ServerCall one) {
    gone.wait();
    one.finish(Status());
  });
  const int64_t began = monotonic_now();
  const Status status =
      call(pair, "", Context().with_timeout(std::chrono::milliseconds(100))).status;
  EXPECT_EQ(status.code(), Code::kDeadlineExceeded);
  EXPECT_THAT(status.message(), HasSubstr("test.x"));
  EXPECT_LT(monotonic_now() - began, 2 * kSecond);
  let_go.set_value();
}

TEST(Link, DescriptorsMoveAndAreClosedUnlessTaken) {
  const Pair pair([](uint32_t, ServerCall one) {
    EXPECT_EQ(one.context().header("berth-accept-fds"), "1");
    for (int i = 0; i < 3; ++i) {
      std::vector<UniqueFd> fds;
      fds.emplace_back(::open("/proc/self/stat", O_RDONLY | O_CLOEXEC));
      fds.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
      if (one.send_with_fds(Message::copy_of("with"), std::move(fds)) != BERTH_OK) return;
      if (one.send(Message::copy_of("without")) != BERTH_OK) return;
    }
    one.finish(Status());
  });
  const auto open_files = [] {
    int count = 0;
    for (int fd = 0; fd < 1024; ++fd) count += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
    return count;
  };
  const int before = open_files();
  {
    ClientCall one =
        ClientCall::open(pair.client(), kServerStream, Context().with("berth-accept-fds", "1"));
    EXPECT_EQ(one.send(Message::copy_of("")), BERTH_OK);
    Message message;
    for (int i = 0; i < 3; ++i) {
      ASSERT_EQ(one.recv(&message, 10 * kSecond), BERTH_OK);
      EXPECT_EQ(message.bytes(), "with");
      if (i == 0) {
        const std::vector<UniqueFd> fds = message.take_fds();
        ASSERT_EQ(fds.size(), 2U);
        struct stat info {};
        EXPECT_EQ(::fstat(fds[1].get(), &info), 0);
        EXPECT_TRUE(S_ISCHR(info.st_mode)) << "in another order";
      }
      ASSERT_EQ(one.recv(&message, 10 * kSecond), BERTH_OK);
      EXPECT_EQ(message.bytes(), "without");
      EXPECT_TRUE(message.take_fds().empty());
    }
    EXPECT_TRUE(one.finish().ok());
  }
  // The sender closes its own after they have left, and links of tests before this one end on
  // threads of theirs: both may be later than what is seen here.
  for (int i = 0; i < 1000 && open_files() > before; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_LE(open_files(), before);
}

TEST(Link, CallsBackToTheCallerHoldNothing) {
  // The far side calls what the near side offers, within a call.
  Plugin* caller = keep(new Plugin([](uint32_t, ServerCall one) {
    one.finish(Message::copy_of("<" + std::string(one.request_bytes()) + ">"));
  }));
  std::atomic<bus::Target*> back = nullptr;
  const Pair pair([&back](uint32_t, ServerCall one) {
    ServerCall(std::move(one))
        .forward(berth::Target(bus::handle_of(back.load())), kUnary, Context());
  });
  pair.near->offer({&caller->target});
  back = keep(make_remote_target(
      {"test.y", "test", "y", ""}, services_of(caller->target),
      [link = pair.far](uint32_t method, bus::Call* one) { link->pass(0, method, one); }));
  back.load()->ready();
  std::vector<std::future<Answer>> answers;
  for (int i = 0; i < 32; ++i) {
    answers.push_back(
        std::async(std::launch::async, [&pair, i] { return call(pair, std::to_string(i)); }));
  }
  for (int i = 0; i < 32; ++i) {
    EXPECT_EQ(answers[static_cast<size_t>(i)].get().bytes, "<" + std::to_string(i) + ">");
  }
}

TEST(Link, TheEndOfTheLinkEndsCallsOnBothSides) {
  for (const bool near_ends : {true, false}) {
    std::promise<void> began, over;
    const Pair pair([&](uint32_t, ServerCall one) {
      began.set_value();
      Message message;
      EXPECT_EQ(one.recv(&message, 10 * kSecond), BERTH_CANCELLED);
      over.set_value();
    });
    ClientCall one = ClientCall::open(pair.client(), kBidi, Context());
    began.get_future().wait();
    (near_ends ? pair.near : pair.far)->close("it was time");
    const Status status = one.finish();
    EXPECT_EQ(status.code(), Code::kUnavailable) << status.to_string();
    EXPECT_EQ(over.get_future().wait_for(std::chrono::seconds(10)), std::future_status::ready);
    const Status next = call(pair, "").status;
    EXPECT_EQ(next.code(), Code::kUnavailable);
    EXPECT_THAT(next.message(), HasSubstr("link: "));
  }
}

TEST(Link, GarbageEndsItWithAReason) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  std::promise<Status> down;
  Link::Hooks hooks{[](Frame) { return Status(); },
                    [&](const Status& why) {
                      down.set_value(why);
                      return unavailable("down");
                    }};
  const auto link = std::make_shared<Link>(UniqueFd(ends[0]), hooks);
  link->start();
  const UniqueFd other(ends[1]);
  const std::string noise(100, '\x5a');
  ASSERT_EQ(::write(other.get(), noise.data(), noise.size()), 100);
  const Status why = down.get_future().get();
  EXPECT_EQ(why.code(), Code::kDataLoss);
  EXPECT_THAT(why.message(), HasSubstr("no frame"));
  while (!link->is_down()) std::this_thread::yield();
}

TEST(Link, WhoSendsWithoutCreditIsCutOff) {
  const Pair pair([](uint32_t, ServerCall one) {
    while (!one.cancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  });
  // By hand, since a link of ours would not do it.
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  std::promise<Status> down;
  const auto link =
      std::make_shared<Link>(UniqueFd(ends[0]), Link::Hooks{[](Frame) { return Status(); },
                                                            [&](const Status& why) {
                                                              down.set_value(why);
                                                              return why;
                                                            }});
  link->offer({&pair.plugin->target});
  link->start();
  Channel hand{UniqueFd(ends[1])};
  FrameHeader header;
  header.type = FrameType::kOpen;
  header.flags = kFromOpener;
  header.stream = 1;
  OpenFields fields;
  fields.method = kClientStream;
  hand.send(header, encode(fields, nullptr, 0));
  header.type = FrameType::kMessage;
  const std::string megabyte(1 << 20, 'x');
  for (int i = 0; i < 20; ++i) hand.send(header, megabyte);
  EXPECT_THAT(down.get_future().get().message(), HasSubstr("more than it has credit for"));
}

}  // namespace
}  // namespace berth::link
