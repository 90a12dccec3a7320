// Level "hostile": a host that does what the ABI allows it to and what a plugin would rather not
// have.
#include <atomic>
#include <thread>

#include "validate/fixture.h"

namespace berth::ctl::validate {
namespace {

constexpr size_t kHuge = 16U << 20;  // the largest message that a client may send

class Hostile : public PluginCase {
 protected:
  int64_t now() const { return monotonic_now(); }

  void expect_idle(const char* after) {
    EXPECT_TRUE(plugin_->bus_target().wait_idle(now() + 10'000'000'000))
        << plugin_->bus_target().in_flight() << " handlers go on after " << after;
  }
};

TEST_F(Hostile, CallsAfterStop) {
  START_OR_RETURN();
  const Target target = plugin_->target();
  plugin_->stop();
  for (uint32_t i = 0; i < plugin_->table().service_count; ++i) {
    const berth_service& service = *plugin_->table().services[i];
    for (uint32_t j = 0; j < service.method_count; ++j) {
      const std::string name =
          std::string(view(service.name)) + "/" + std::string(view(service.methods[j].name));
      doing("call " + name + " after stop");
      ClientCall call = ClientCall::open(target, target.resolve(name), Context());
      EXPECT_EQ(call.finish().code(), Code::kUnavailable) << name;
    }
  }
}

TEST_F(Hostile, StopWithCallsInFlight) {
  START_OR_RETURN();
  std::vector<ClientCall> calls;
  for (uint32_t i = 0; i < methods().size(); ++i) {
    doing("open " + methods()[i]->full_name());
    for (int again = 0; again < 3; ++again) {
      calls.push_back(ClientCall::open(plugin_->target(), i, Context()));
      // Some with a request, some without, some with more to come.
      if (again > 0) (void)calls.back().send(Message::owning({}), 1'000'000'000);
      if (again > 1) calls.back().half_close();
    }
  }
  bus::Target& target = plugin_->bus_target();
  const int64_t began = now();
  plugin_->stop();
  EXPECT_LT(now() - began, 9'000'000'000) << "stop took longer than its deadline of 5 s";
  EXPECT_TRUE(target.wait_idle(now() + 1'000'000'000))
      << target.in_flight() << " handlers go on after stop";
  for (ClientCall& call : calls) {
    // A call without its request has not reached the plugin; now it does not reach it any more.
    (void)call.send(Message::owning({}), 0);
    call.half_close();
    Message message;
    int32_t got = BERTH_OK;
    while (got == BERTH_OK) got = call.recv(&message, 1'000'000'000);
    EXPECT_EQ(got, BERTH_END) << "a call has no end after stop";
  }
}

TEST_F(Hostile, ConcurrentCalls) {
  START_OR_RETURN();
  constexpr int kThreads = 8;
  constexpr int kCalls = 60;
  std::vector<std::thread> threads;
  std::atomic<int> unanswered = 0;
  doing("call all methods on 8 threads");
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, seed = random_()] {
      std::mt19937_64 random(seed);
      for (int i = 0; i < kCalls && !methods().empty(); ++i) {
        const auto method = static_cast<uint32_t>(random() % methods().size());
        ClientCall call = ClientCall::open(plugin_->target(), method, Context());
        (void)call.send(Message::owning(any_request(random)), 1'000'000'000);
        call.half_close();
        Message message;
        // A stream may have nothing to say for ever.
        const bool endless = methods()[method]->server_stream();
        const int64_t end = now() + (endless ? 100'000'000 : 2'000'000'000);
        int32_t got = BERTH_OK;
        while (got == BERTH_OK) got = call.recv(&message, std::max<int64_t>(end - now(), 0));
        if (got != BERTH_END && !endless) ++unanswered;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LT(unanswered, kThreads * kCalls / 4) << "calls that take longer than 2 s";
  expect_idle("concurrent calls");
}

TEST_F(Hostile, CancelledCalls) {
  START_OR_RETURN();
  for (uint32_t i = 0; i < methods().size(); ++i) {
    doing("cancel " + methods()[i]->full_name());
    for (int round = 0; round < 20; ++round) {
      ClientCall call = ClientCall::open(plugin_->target(), i, Context());
      if (random_() % 4 != 0) (void)call.send(Message::owning(any_request(random_)), 1'000'000'000);
      if (random_() % 2 == 0) call.half_close();
      if (random_() % 2 == 0) {
        std::this_thread::sleep_for(std::chrono::microseconds(random_() % 500));
      }
      if (random_() % 2 == 0) call.cancel();
      // Else it is released as it is, which cancels it, too.
    }
    expect_idle(("cancelled calls of " + methods()[i]->full_name()).c_str());
  }
}

TEST_F(Hostile, CallsPastTheirDeadline) {
  START_OR_RETURN();
  for (uint32_t i = 0; i < methods().size(); ++i) {
    doing("call " + methods()[i]->full_name() + " past its deadline");
    const Context late = Context().with_timeout(std::chrono::nanoseconds(-1));
    ClientCall call = ClientCall::open(plugin_->target(), i, late);
    (void)call.send(Message::owning({}), 1'000'000'000);
    call.half_close();
    EXPECT_EQ(call.finish().code(), Code::kDeadlineExceeded) << methods()[i]->full_name();
  }
  expect_idle("calls past their deadline");
}

TEST_F(Hostile, HugeRequests) {
  START_OR_RETURN();
  // One text of nearly 16 MiB as field 1, and as much of nothing known.
  std::string text("\x0a\xf0\xff\xff\x07", 5);
  text.append(0xfffff0, 'x');
  for (const std::string& request : {text, std::string(kHuge, '\0')}) {
    for (uint32_t i = 0; i < methods().size(); ++i) {
      expect_ended(*methods()[i], plugin_->call(i, request, std::chrono::seconds(5)));
    }
  }
}

TEST_F(Hostile, AnyBytes) {
  START_OR_RETURN();
  for (uint32_t i = 0; i < methods().size(); ++i) {
    const bool endless = methods()[i]->server_stream() || methods()[i]->client_stream();
    for (int round = 0; round < (endless ? 20 : 200); ++round) {
      const std::string request = any_request(random_);
      const Outcome outcome = plugin_->call(i, request, std::chrono::milliseconds(500));
      expect_ended(*methods()[i], outcome);
      if (HasFailure()) {
        std::string hex;
        for (const char byte : request) {
          char two[3];
          std::snprintf(two, sizeof two, "%02x", static_cast<unsigned char>(byte));
          hex += two;
        }
        FAIL() << "the request was " << hex;
      }
      if (!outcome.ended) break;  // it waits for something; once is enough
    }
  }
}

/// Requests of which some may be what a method wants.
std::vector<std::string> requests(std::mt19937_64& random) {
  std::vector<std::string> some = {std::string(), "\x0a\x05hello", "\x0a\x01x\x12\x01x"};
  for (int i = 0; i < 20; ++i) some.push_back(any_request(random));
  return some;
}

TEST_F(Hostile, AllocationsFailInCalls) {
  START_OR_RETURN();
  for (uint32_t i = 0; i < methods().size(); ++i) {
    std::string request;
    Outcome with_memory;
    for (const std::string& one : requests(random_)) {
      request = one;
      with_memory = plugin_->call(i, request, std::chrono::milliseconds(500));
      if (with_memory.bytes > 0 || !with_memory.ended) break;
    }
    for (uint64_t left = 0; left < 4; ++left) {
      PluginUnderTest::set_mischief({.allocations_left = left});
      const Outcome outcome = plugin_->call(i, request, std::chrono::milliseconds(500));
      PluginUnderTest::set_mischief({});
      expect_ended(*methods()[i], outcome);
      // An answer that lost its content is worse than none.
      const bool lost = with_memory.status.ok() && with_memory.bytes > 0 && outcome.status.ok() &&
                        outcome.ended && outcome.bytes == 0;
      EXPECT_FALSE(lost) << methods()[i]->full_name()
                         << " answers OK with nothing in it when memory is gone";
    }
  }
}

TEST_F(Hostile, AllocationsFailInInit) {
  for (uint64_t left = 0; left < 3; ++left) {
    const Status started = plugin_->start({.allocations_left = left});
    PluginUnderTest::set_mischief({});
    if (started.ok()) break;  // it needs no memory of the host's, or no more than that
    EXPECT_FALSE(started.message().empty()) << "init fails and does not say why";
  }
}

TEST_F(Hostile, NoThreadsToBeHad) {
  const Status started = plugin_->start({.refuse_threads = true});
  if (!started.ok()) {
    EXPECT_FALSE(started.message().empty()) << "it does not say that it needs a thread";
    return;
  }
  for (uint32_t i = 0; i < methods().size(); ++i) expect_ended(*methods()[i], plugin_->call(i, {}));
  plugin_->stop();
}

TEST_F(Hostile, AHostOfALaterMinor) {
  START_OR_RETURN({.later_minor = true});
  for (uint32_t i = 0; i < methods().size(); ++i) expect_ended(*methods()[i], plugin_->call(i, {}));
  plugin_->stop();
}

TEST_F(Hostile, MessagesAreGivenBack) {
  START_OR_RETURN();
  constexpr int kCalls = 50;
  for (uint32_t i = 0; i < methods().size(); ++i) {
    if (methods()[i]->server_stream() || methods()[i]->client_stream()) continue;
    const std::vector<std::string> some = requests(random_);
    if (!plugin_->call(i, {}).ended) continue;  // it waits for something
    const int64_t before = PluginUnderTest::allocations();
    for (int round = 0; round < kCalls; ++round) {
      (void)plugin_->call(i, some[static_cast<size_t>(round) % 3]);
    }
    EXPECT_LT(PluginUnderTest::allocations() - before, kCalls / 4)
        << methods()[i]->full_name() << " keeps memory of the host, call by call";
  }
}

}  // namespace
}  // namespace berth::ctl::validate
