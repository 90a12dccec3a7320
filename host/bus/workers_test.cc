#include "bus/workers.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace berth::bus {
namespace {

using std::chrono::milliseconds;

// They end on threads that nobody joins, so they outlive the test.
Workers* make_workers(std::atomic<int>* quiet) {
  auto* workers = new Workers(8);  // NOLINT(cppcoreguidelines-owning-memory)
  workers->on_quiet([quiet] { ++*quiet; });
  return workers;
}

TEST(WorkersTest, QuietIsToldOnceAfterEachTimeOfWork) {
  static std::atomic<int> quiet = 0;
  static Workers* const workers = make_workers(&quiet);
  for (int burst = 1; burst <= 2; ++burst) {
    for (int i = 0; i < 12; ++i) {  // longer than the time after which it is quiet
      ASSERT_TRUE(workers->spawn([] { std::this_thread::sleep_for(milliseconds(20)); }));
      ASSERT_TRUE(workers->spawn([] {}));
      std::this_thread::sleep_for(milliseconds(100));
      EXPECT_EQ(quiet, burst - 1);
    }
    std::this_thread::sleep_for(milliseconds(2500));
    EXPECT_EQ(quiet, burst);
  }
}

}  // namespace
}  // namespace berth::bus
