// The rules of abi.h, through the table that plugins see.
#include <berth/server.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <future>
#include <thread>

#include "bus/call.h"
#include "bus/host_table.h"
#include "bus/workers.h"

namespace berth::bus {
namespace {

using Handler = std::function<void(uint32_t method, ServerCall call)>;

constexpr uint32_t kUnary = 0;
constexpr uint32_t kServerStream = 1;
constexpr uint32_t kBidi = 2;
constexpr uint32_t kUnaryNoBlock = 3;

const berth_method kMethods[] = {
    {str("Unary"), 0, 0},
    {str("ServerStream"), BERTH_METHOD_SERVER_STREAM, 0},
    {str("Bidi"), BERTH_METHOD_CLIENT_STREAM | BERTH_METHOD_SERVER_STREAM, 0},
    {str("UnaryNoBlock"), BERTH_METHOD_NO_BLOCK, 0}};
const berth_service kService = {sizeof(berth_service), 4, str("test.Test"), kMethods, {}};

/// A plugin made of one function; targets live for ever, here as in the daemon.
struct Plugin {
  explicit Plugin(Handler handler)
      : handler_(std::move(handler)), target({"test.x", "test", "x", ""}) {
    host_table();
    target.add_service(kService);
    target.serve(
        [](void* self, uint32_t, uint32_t method, berth_call* call) {
          static_cast<Plugin*>(self)->handler_(method, ServerCall(call));
        },
        this);
    target.ready();
  }
  berth::Target client() { return berth::Target(handle_of(&target)); }

  Handler handler_;
  Target target;
};

Plugin& plugin(Handler handler) {
  static auto* for_ever = new std::vector<std::unique_ptr<Plugin>>;  // reachable, so no leak
  return *for_ever->emplace_back(std::make_unique<Plugin>(std::move(handler)));
}

struct Answer {
  Status status;
  std::string bytes;
};

Answer call_unary(Plugin& to, uint32_t method, const std::string& request,
                  const Context& context = {}) {
  const CallOptions options(context);
  const Message message = Message::copy_of(request);
  ClientCall call(detail::host->unary(to.client().raw(), method, options.raw(), &message.raw()));
  Message reply;
  Answer answer;
  if (call.recv(&reply, 0) == BERTH_OK) answer.bytes = std::string(reply.bytes());
  answer.status = call.finish();
  return answer;
}

void reply(ServerCall& call, const std::string& bytes) {
  struct Text {
    std::string text;
    size_t ByteSizeLong() const { return text.size(); }
    bool SerializeToArray(void* out, int size) const {
      std::memcpy(out, text.data(), static_cast<size_t>(size));
      return true;
    }
  };
  call.finish(Status(), Text{bytes});
}

TEST(Bus, UnaryRunsOnTheCallersThread) {
  std::thread::id thread;
  Plugin& echo = plugin([&](uint32_t, ServerCall call) {
    thread = std::this_thread::get_id();
    reply(call, std::string(call.request_bytes()) + "!");
  });
  const Answer answer = call_unary(echo, kUnary, "hello");
  EXPECT_TRUE(answer.status.ok()) << answer.status.to_string();
  EXPECT_EQ(answer.bytes, "hello!");
  EXPECT_EQ(thread, std::this_thread::get_id());
}

TEST(Bus, StatusCarriesCodeMessageAndDetails) {
  Plugin& refusing = plugin([](uint32_t, ServerCall call) {
    call.finish(Status(Code::kNotFound, "no such thing", "details"));
  });
  const Answer answer = call_unary(refusing, kUnary, "");
  EXPECT_EQ(answer.status.code(), Code::kNotFound);
  EXPECT_EQ(answer.status.message(), "no such thing");
  EXPECT_EQ(answer.status.details(), "details");
}

TEST(Bus, WritableMeansRoomForWhatWasRefused) {
  std::promise<void> over;
  Plugin& slow = plugin([&](uint32_t, ServerCall call) {
    over.get_future().wait();
    call.finish(Status());
  });
  ClientCall call = ClientCall::open(slow.client(), kBidi, Context());
  // Two large messages have room, and a third has not, though the window is not full.
  constexpr size_t kLarge = (1 << 20) + (1 << 19);
  while (call.send(Message::with_size(kLarge), 0) == BERTH_OK) {
  }
  std::atomic<int> told = 0;
  call.on_ready(
      BERTH_WRITABLE | BERTH_INLINE, [](void* count) { ++*static_cast<std::atomic<int>*>(count); },
      &told);
  EXPECT_EQ(told, 0) << "a writer would turn round and round";
  call.cancel();
  EXPECT_EQ(told, 1);
  over.set_value();
  EXPECT_TRUE(slow.target.wait_idle(monotonic_now() + 5'000'000'000));
}

TEST(Bus, DroppedCallIsAnswered) {
  Plugin& careless = plugin([](uint32_t, ServerCall) {});
  EXPECT_EQ(call_unary(careless, kUnary, "").status.code(), Code::kInternal);
}

TEST(Bus, RefusesCallsToAPluginThatIsNotReady) {
  Plugin& gone = plugin([](uint32_t, ServerCall call) { call.finish(Status()); });
  gone.target.refuse("its disk is on fire");
  const Answer answer = call_unary(gone, kUnary, "");
  EXPECT_EQ(answer.status.code(), Code::kUnavailable);
  EXPECT_NE(answer.status.message().find("its disk is on fire"), std::string::npos);
  EXPECT_NE(answer.status.message().find("test.x"), std::string::npos);
}

TEST(Bus, HeadersAreInheritedReplacedAndHopByHop) {
  std::string ns, trace, hop;
  Plugin& inner = plugin([&](uint32_t, ServerCall call) {
    const Context context = call.context();
    ns = context.ns();
    trace = context.header("trace");
    hop = context.header("berth-accept-fds");
    call.finish(Status());
  });
  Plugin& outer = plugin([&](uint32_t, ServerCall call) {
    EXPECT_EQ(call.context().header("berth-accept-fds"), "1");
    const Answer answer = call_unary(inner, kUnary, "", call.context().with("trace", "b"));
    call.finish(answer.status);
  });
  const Context context =
      Context().with_ns("moby").with("trace", "a").with("berth-accept-fds", "1");
  (void)call_unary(outer, kUnary, "", context);
  EXPECT_EQ(ns, "moby");
  EXPECT_EQ(trace, "b");
  EXPECT_EQ(hop, "");
}

TEST(Bus, DeferredCallIsFinishedFromAnotherThread) {
  std::thread finisher;
  Plugin& deferring = plugin([&](uint32_t, ServerCall call) {
    finisher = std::thread([held = std::make_shared<ServerCall>(std::move(call))] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      reply(*held, "late");
    });
  });
  EXPECT_EQ(call_unary(deferring, kUnary, "").bytes, "late");
  finisher.join();
}

TEST(Bus, ACallPastItsDeadlineIsNotBegun) {
  std::atomic<int> handled = 0;
  Plugin& to = plugin([&](uint32_t, ServerCall call) {
    ++handled;
    reply(call, "late");
  });
  const Context late = Context().with_timeout(std::chrono::nanoseconds(-1));
  EXPECT_EQ(call_unary(to, kUnaryNoBlock, "x", late).status.code(), Code::kDeadlineExceeded);
  ClientCall stream = ClientCall::open(to.client(), kBidi, late);
  EXPECT_EQ(stream.finish().code(), Code::kDeadlineExceeded);
  EXPECT_EQ(handled, 0);
}

// Found by `berthctl plugin validate`: a call that was opened before the stop and got its request
// after it was handed to a plugin that had been stopped.
TEST(Bus, ARequestThatComesAfterTheStopDoesNotReachThePlugin) {
  std::atomic<int> handled = 0;
  Plugin& to = plugin([&](uint32_t, ServerCall call) {
    ++handled;
    reply(call, "from the grave");
  });
  ClientCall call = ClientCall::open(to.client(), kUnary, Context());
  to.target.refuse("it was stopped");
  (void)call.send(Message::owning("x"));
  call.half_close();
  EXPECT_EQ(call.finish().code(), Code::kUnavailable);
  EXPECT_EQ(handled, 0);
  EXPECT_EQ(to.target.in_flight(), 0U);
}

TEST(Bus, DeadlineEndsADeferredCallAndLateFinishIsANoOp) {
  std::optional<ServerCall> held;
  Plugin& silent = plugin([&](uint32_t, ServerCall call) { held.emplace(std::move(call)); });
  const Answer answer =
      call_unary(silent, kUnary, "", Context().with_timeout(std::chrono::milliseconds(30)));
  EXPECT_EQ(answer.status.code(), Code::kDeadlineExceeded);
  EXPECT_TRUE(held->cancelled());
  held->finish(Status(Code::kCancelled,
                      "the handler saw the cancel"));  // must neither crash nor change anything
}

TEST(Bus, ForwardHandsRequestAndHeadersOn) {
  std::string seen;
  Plugin& last = plugin([&](uint32_t, ServerCall call) {
    seen = call.context().header("hop");
    reply(call, "from last: " + std::string(call.request_bytes()));
  });
  Plugin& first = plugin([&](uint32_t, ServerCall call) {
    call.forward(last.client(), kUnary, Context().with("hop", "2"));
  });
  EXPECT_EQ(call_unary(first, kUnary, "x").bytes, "from last: x");
  EXPECT_EQ(seen, "2");
  EXPECT_EQ(first.target.in_flight(), 0U);
  EXPECT_EQ(last.target.in_flight(), 0U);
}

TEST(Bus, ForwardToAnotherShapeIsRefusedAndAnswered) {
  Plugin& last = plugin([](uint32_t, ServerCall call) { call.finish(Status()); });
  Plugin& first = plugin([&](uint32_t, ServerCall call) { call.forward(last.client(), kBidi); });
  EXPECT_EQ(call_unary(first, kUnary, "x").status.code(), Code::kInternal);
}

TEST(Bus, StreamDeliversEveryMessageThroughAFullWindow) {
  constexpr int kMessages = 1000;
  const std::string block(64 << 10, 'x');  // 64 MB in all: many times the window
  Plugin& writer = plugin([&](uint32_t, ServerCall call) {
    for (int i = 0; i < kMessages; ++i) {
      if (call.send(Message::copy_of(block)) != BERTH_OK)
        return call.finish(internal_error("cut off"));
    }
    call.finish(Status());
  });
  ClientCall call = ClientCall::open(writer.client(), kServerStream, Context());
  ASSERT_EQ(call.send(Message::copy_of("go")), BERTH_OK);
  int got = 0;
  Message message;
  while (call.recv(&message) == BERTH_OK) {
    EXPECT_EQ(message.bytes().size(), block.size());
    ++got;
  }
  EXPECT_EQ(got, kMessages);
  EXPECT_TRUE(call.finish().ok());
}

TEST(Bus, SendWithoutWaitingSaysAgainWhenTheWindowIsFull) {
  std::atomic<int> sent{0};
  std::atomic<bool> done{false};
  Plugin& writer = plugin([&](uint32_t, ServerCall call) {
    while (call.send(Message::copy_of(std::string(1 << 20, 'x')), 0) == BERTH_OK) ++sent;
    done = true;
    call.finish(Status());
  });
  ClientCall call = ClientCall::open(writer.client(), kServerStream, Context());
  (void)call.send(Message::copy_of(""));
  while (!done) std::this_thread::yield();
  EXPECT_GE(sent, 1);
  EXPECT_LE(static_cast<uint64_t>(sent) << 20, kWindow);
  int got = 0;
  Message message;
  while (call.recv(&message) == BERTH_OK) ++got;
  EXPECT_EQ(got, sent);
}

TEST(Bus, WindowIsGivenBackAsMessagesAreTaken) {
  std::atomic<int> wanted{0};
  std::atomic<int> sent{0};
  Plugin& writer = plugin([&](uint32_t, ServerCall call) {
    for (int i = 0; i < 40; ++i) {  // several windows' worth, two at a time
      while (wanted <= i) std::this_thread::yield();
      EXPECT_EQ(call.send(Message::copy_of(std::string(kWindow / 4, 'x')), 0), BERTH_OK) << i;
      ++sent;
    }
    call.finish(Status());
  });
  ClientCall call = ClientCall::open(writer.client(), kServerStream, Context());
  (void)call.send(Message::copy_of(""));
  Message message;
  for (int i = 0; i < 20; ++i) {
    wanted = 2 * i + 2;
    while (sent < wanted) std::this_thread::yield();
    EXPECT_EQ(call.recv(&message, 0), BERTH_OK);
    EXPECT_EQ(call.recv(&message, 0), BERTH_OK);
  }
  EXPECT_EQ(call.recv(&message), BERTH_END);
}

TEST(Bus, BidirectionalStreamHalfClosesAndEnds) {
  Plugin& echo = plugin([](uint32_t, ServerCall call) {
    Message message;
    while (call.recv(&message) == BERTH_OK) (void)call.send(Message::copy_of(message.bytes()));
    call.finish(Status());
  });
  ClientCall call = ClientCall::open(echo.client(), kBidi, Context());
  for (const char* text : {"a", "b", "c"}) {
    ASSERT_EQ(call.send(Message::copy_of(text)), BERTH_OK);
    Message message;
    ASSERT_EQ(call.recv(&message), BERTH_OK);
    EXPECT_EQ(message.bytes(), text);
  }
  call.half_close();
  EXPECT_TRUE(call.finish().ok());
}

TEST(Bus, CancelReachesTheHandlerAndTheCallsItMade) {
  std::promise<void> inner_cancelled;
  Plugin& inner = plugin([&](uint32_t, ServerCall call) {
    Message message;
    EXPECT_EQ(call.recv(&message), BERTH_CANCELLED);
    inner_cancelled.set_value();
    call.finish(cancelled("seen"));
  });
  Plugin& outer = plugin([&](uint32_t, ServerCall call) {
    ClientCall nested = ClientCall::open(inner.client(), kBidi, call.context());
    const Status status = nested.finish();
    EXPECT_EQ(status.code(), Code::kCancelled);
    call.finish(status);
  });
  ClientCall call = ClientCall::open(outer.client(), kBidi, Context());
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
  call.cancel();
  EXPECT_EQ(inner_cancelled.get_future().wait_for(std::chrono::seconds(5)),
            std::future_status::ready);
  EXPECT_EQ(call.finish().code(), Code::kCancelled);
}

TEST(Bus, InlineCallbacksDoNotNest) {
  struct Ping {
    ClientCall call;
    int turns = 0;
    int depth = 0;
    int deepest = 0;
    std::promise<void> done;
  };
  Plugin& echo = plugin([](uint32_t, ServerCall call) {
    Message message;
    while (call.recv(&message) == BERTH_OK) (void)call.send(std::move(message));
    call.finish(Status());
  });
  Ping ping;
  ping.call = ClientCall::open(echo.client(), kBidi, Context());
  static berth_callback turn = [](void* context) {
    auto* self = static_cast<Ping*>(context);
    self->deepest = std::max(self->deepest, ++self->depth);
    Message message;
    if (self->call.recv(&message, 0) == BERTH_OK && ++self->turns == 2000) {
      --self->depth;
      self->done.set_value();
      return;
    }
    (void)self->call.send(Message::copy_of("x"), 0);
    self->call.on_ready(BERTH_READABLE | BERTH_INLINE, turn, self);
    --self->depth;
  };
  (void)ping.call.send(Message::copy_of("x"));
  ping.call.on_ready(BERTH_READABLE | BERTH_INLINE, turn, &ping);
  ASSERT_EQ(ping.done.get_future().wait_for(std::chrono::seconds(20)), std::future_status::ready);
  EXPECT_EQ(ping.deepest, 1);
}

TEST(Bus, EventThreadsDoNotRunHandlersThatMayBlock) {
  std::thread::id blocking_thread, quick_thread;
  Plugin& both = plugin([&](uint32_t method, ServerCall call) {
    (method == kUnaryNoBlock ? quick_thread : blocking_thread) = std::this_thread::get_id();
    call.finish(Status());
  });
  for (const uint32_t method : {kUnary, kUnaryNoBlock}) {
    CallRef call;
    {
      const EventScope scope;
      call = Call::open(both.target, method, {});
      Message message = Message::copy_of("");
      EXPECT_EQ(call->client_send(message.raw(), 0), BERTH_OK);
      message.released();
    }
    berth_message unused{};
    EXPECT_EQ(call->client_recv(BERTH_FOREVER, &unused), BERTH_END);
    call->client_release();
  }
  EXPECT_NE(blocking_thread, std::this_thread::get_id());
  EXPECT_EQ(quick_thread, std::this_thread::get_id());
}

TEST(Bus, DescriptorsMoveWithTheirMessage) {
  Plugin& giver = plugin([](uint32_t, ServerCall call) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    ASSERT_EQ(::write(ends[1], "hi", 2), 2);
    ::close(ends[1]);
    std::vector<UniqueFd> fds;
    fds.emplace_back(ends[0]);
    EXPECT_EQ(call.send_with_fds(Message::copy_of("fd"), std::move(fds)), BERTH_OK);
    call.finish(Status());
  });
  ClientCall call = ClientCall::open(giver.client(), kServerStream, Context());
  (void)call.send(Message::copy_of(""));
  Message message;
  ASSERT_EQ(call.recv(&message), BERTH_OK);
  EXPECT_EQ(message.bytes(), "fd");
  const auto fds = message.take_fds();
  ASSERT_EQ(fds.size(), 1U);
  char text[2];
  EXPECT_EQ(::read(fds[0].get(), text, 2), 2);
  EXPECT_EQ(std::string_view(text, 2), "hi");
}

TEST(Bus, StopCancelsCallsInFlight) {
  Plugin& stuck = plugin([](uint32_t, ServerCall call) {
    Message message;
    EXPECT_EQ(call.recv(&message), BERTH_CANCELLED);
    call.finish(Status());
  });
  ClientCall call = ClientCall::open(stuck.client(), kBidi, Context());
  stuck.target.refuse("stopping");
  stuck.target.cancel_all(unavailable("stopping"));
  EXPECT_TRUE(stuck.target.wait_idle(monotonic_now() + 5'000'000'000));
  EXPECT_EQ(call.finish().code(), Code::kUnavailable);
}

TEST(Bus, CountsCallsErrorsAndBytes) {
  Plugin& target = plugin([](uint32_t, ServerCall call) {
    if (call.request_bytes() == "bad") return call.finish(not_found("x"));
    reply(call, "12345");
  });
  (void)call_unary(target, kUnary, "abc");
  (void)call_unary(target, kUnary, "bad");
  const MethodTotals totals = target.target.method(kUnary)->statistics.totals();
  EXPECT_EQ(totals.calls, 2U);
  EXPECT_EQ(totals.errors, 1U);
  EXPECT_EQ(totals.bytes_in, 6U);
  EXPECT_EQ(totals.bytes_out, 5U);
}

}  // namespace
}  // namespace berth::bus
