#include "scheduler.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <latch>

namespace berth::gc {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Collection = Scheduler::Collection;

// A collector that is told when to end.
class Gate {
 public:
  Scheduler::Collector collector() {
    return [this](std::stop_token stop) -> Result<Collection> {
      std::unique_lock lock(mutex_);
      ++begun_;
      changed_.notify_all();
      if (!changed_.wait(lock, stop, [&] { return permits_ > 0; })) return cancelled("interrupted");
      --permits_;
      if (fails_) return unavailable("disk on fire");
      Collection collection;
      collection.set_duration_ns(static_cast<uint64_t>(begun_));
      return collection;
    };
  }
  void let(int count) {
    const std::lock_guard lock(mutex_);
    permits_ += count;
    changed_.notify_all();
  }
  void fail(bool fails) {
    const std::lock_guard lock(mutex_);
    fails_ = fails;
  }
  void wait_begun(int count) {
    std::unique_lock lock(mutex_);
    ASSERT_TRUE(changed_.wait_for(lock, seconds(20), [&] { return begun_ >= count; }));
  }
  int begun() {
    const std::lock_guard lock(mutex_);
    return begun_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  int begun_ = 0;
  int permits_ = 0;
  bool fails_ = false;
};

ScheduleOptions quiet() {
  ScheduleOptions options;
  options.startup_delay = nanoseconds(0);  // nothing by itself
  return options;
}

std::future<Result<Collection>> collect(Scheduler& scheduler) {
  auto promise = std::make_shared<std::promise<Result<Collection>>>();
  auto future = promise->get_future();
  scheduler.collect([promise](const Result<Collection>& outcome) { promise->set_value(outcome); });
  return future;
}

TEST(Scheduler, CollectWaitsForOneThatBeginsAfterTheRequest) {
  Gate gate;
  Scheduler scheduler(quiet(), gate.collector(), [](const auto&) {});
  ASSERT_TRUE(scheduler.start().ok());
  auto first = collect(scheduler);
  gate.wait_begun(1);
  auto second = collect(scheduler);
  auto third = collect(scheduler);
  gate.let(1);
  const auto of_first = first.get();
  ASSERT_TRUE(of_first.ok());
  EXPECT_EQ(of_first->duration_ns(), 1U);
  gate.wait_begun(2);
  EXPECT_EQ(second.wait_for(milliseconds(0)), std::future_status::timeout);
  gate.let(1);
  EXPECT_EQ(second.get()->duration_ns(), 2U);
  EXPECT_EQ(third.get()->duration_ns(), 2U);  // shared
  EXPECT_EQ(gate.begun(), 2);
  EXPECT_EQ(scheduler.stats().collections(), 2U);
}

TEST(Scheduler, FailuresReachWhoWaitsAndTheObserver) {
  Gate gate;
  std::atomic<int> failures = 0;
  Scheduler scheduler(quiet(), gate.collector(), [&](const Result<Collection>& outcome) {
    if (!outcome.ok()) ++failures;
  });
  ASSERT_TRUE(scheduler.start().ok());
  gate.fail(true);
  gate.let(1);
  const auto outcome = collect(scheduler).get();
  EXPECT_EQ(outcome.status().code(), Code::kUnavailable);
  EXPECT_EQ(failures, 1);
  EXPECT_EQ(scheduler.stats().last_error(), "disk on fire");
  EXPECT_EQ(scheduler.stats().collections(), 1U);
  gate.fail(false);
  gate.let(1);
  ASSERT_TRUE(collect(scheduler).get().ok());
  EXPECT_EQ(scheduler.stats().last_error(), "");
}

TEST(Scheduler, StopInterruptsAndAnswersEveryone) {
  Gate gate;
  Scheduler scheduler(quiet(), gate.collector(), [](const auto&) {});
  ASSERT_TRUE(scheduler.start().ok());
  auto running = collect(scheduler);
  gate.wait_begun(1);
  auto waiting = collect(scheduler);
  const auto begin = std::chrono::steady_clock::now();
  scheduler.stop();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds(10));
  EXPECT_EQ(running.get().status().code(), Code::kCancelled);
  EXPECT_EQ(waiting.get().status().code(), Code::kUnavailable);
  EXPECT_EQ(collect(scheduler).get().status().code(), Code::kUnavailable);
  EXPECT_EQ(gate.begun(), 1);
}

TEST(Scheduler, StopWithoutStart) {
  Gate gate;
  Scheduler scheduler(quiet(), gate.collector(), [](const auto&) {});
  auto waiting = collect(scheduler);
  scheduler.stop();
  EXPECT_EQ(waiting.get().status().code(), Code::kUnavailable);
}

TEST(Scheduler, CollectsAfterStartAndAfterMutations) {
  Gate gate;
  gate.let(1000);
  ScheduleOptions options;
  options.startup_delay = milliseconds(1);
  options.pause_threshold = 0.5;  // shortest interval: 5 ms
  Scheduler scheduler(options, gate.collector(), [](const auto&) {});
  ASSERT_TRUE(scheduler.start().ok());
  gate.wait_begun(1);
  scheduler.mutated(1, true);
  gate.wait_begun(2);
  std::this_thread::sleep_for(milliseconds(50));
  EXPECT_EQ(gate.begun(), 2);  // nothing new, nothing collected
  EXPECT_EQ(scheduler.stats().mutations_pending(), 0U);
}

TEST(Scheduler, ARequestFromACallbackIsServed) {
  Gate gate;
  gate.let(2);
  Scheduler scheduler(quiet(), gate.collector(), [](const auto&) {});
  ASSERT_TRUE(scheduler.start().ok());
  std::promise<void> done;
  scheduler.collect(
      [&](const auto&) { scheduler.collect([&](const auto&) { done.set_value(); }); });
  EXPECT_EQ(done.get_future().wait_for(seconds(20)), std::future_status::ready);
}

TEST(Scheduler, ManyRequestsAtOnceShareFewCollections) {
  Gate gate;
  gate.let(1 << 20);
  Scheduler scheduler(quiet(), gate.collector(), [](const auto&) {});
  ASSERT_TRUE(scheduler.start().ok());
  std::atomic<int> answered = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        if (collect(scheduler).get().ok()) ++answered;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(answered, 400);
  EXPECT_LE(gate.begun(), 400);
}

}  // namespace
}  // namespace berth::gc
