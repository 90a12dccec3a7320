#include "bus/timers.h"

#include <berth/context.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <thread>

namespace berth::bus {
namespace {

using namespace std::chrono_literals;

int64_t in(std::chrono::nanoseconds time) { return monotonic_now() + time.count(); }

/// Timers live for ever, as the process's do.
Timers& fresh() { return *new Timers; }

void let_it_sleep() { std::this_thread::sleep_for(50ms); }

TEST(Timers, EarlierOneWakesTheThread) {
  Timers& timers = fresh();
  let_it_sleep();  // without end
  std::promise<void> first;
  const int64_t due = in(30ms);
  timers.add(due, [&] { first.set_value(); });
  ASSERT_EQ(first.get_future().wait_for(5s), std::future_status::ready);
  EXPECT_GE(monotonic_now(), due);

  std::promise<void> second;
  const Timers::Id late = timers.add(in(1h), [] { ADD_FAILURE() << "due in an hour"; });
  let_it_sleep();  // until that one
  timers.add(in(30ms), [&] { second.set_value(); });
  EXPECT_EQ(second.get_future().wait_for(5s), std::future_status::ready);
  timers.remove(late);
}

TEST(Timers, LaterOneIsNotMissedWhenTheEarlierIsTakenBack) {
  Timers& timers = fresh();
  const Timers::Id taken_back = timers.add(in(100ms), [] { ADD_FAILURE() << "was taken back"; });
  let_it_sleep();
  timers.remove(taken_back);
  std::promise<void> fired;
  const int64_t due = in(200ms);
  timers.add(due, [&] { fired.set_value(); });
  ASSERT_EQ(fired.get_future().wait_for(5s), std::future_status::ready);
  EXPECT_GE(monotonic_now(), due);
}

TEST(Timers, RunInOrderAlsoWhenAddedByOne) {
  Timers& timers = fresh();
  std::promise<std::string> done;
  std::string order;
  timers.add(in(60ms), [&] { order += "c"; });
  timers.add(in(20ms), [&] {
    order += "a";
    timers.add(in(10ms), [&] { order += "b"; });
  });
  timers.add(in(90ms), [&] { done.set_value(order); });
  EXPECT_EQ(done.get_future().get(), "abc");
}

}  // namespace
}  // namespace berth::bus
