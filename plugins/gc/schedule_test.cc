#include "schedule.h"

#include <gtest/gtest.h>

namespace berth::gc {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A schedule with a clock that stands until it is moved.
class ScheduleTest : public testing::Test {
 protected:
  Schedule& schedule(const ScheduleOptions& options = {}) {
    schedule_.emplace(options, now_);
    return *schedule_;
  }
  // Moves the clock to the next due time, and says whether a collection begins then.
  bool advance() {
    EXPECT_TRUE(schedule_->next());
    now_ = *schedule_->next();
    return schedule_->take_due(now_);
  }
  nanoseconds until_next() const { return *schedule_->next() - now_; }
  void collect(nanoseconds took) {
    now_ += took;
    schedule_->succeeded(took, now_);
  }

  Time now_{seconds(1000)};
  std::optional<Schedule> schedule_;
};

TEST_F(ScheduleTest, TheFirstComesAfterTheStartupDelay) {
  auto& s = schedule();
  EXPECT_EQ(until_next(), milliseconds(100));
  EXPECT_FALSE(s.take_due(now_ + milliseconds(99)));
  EXPECT_TRUE(advance());
}

TEST_F(ScheduleTest, WithoutStartupDelayNothingComesByItself) {
  ScheduleOptions options;
  options.startup_delay = nanoseconds(0);
  auto& s = schedule(options);
  EXPECT_FALSE(s.next());
  s.mutated(99, false, now_);
  EXPECT_FALSE(s.next());
  s.mutated(100, false, now_);
  ASSERT_TRUE(s.next());
  EXPECT_TRUE(advance());
}

TEST_F(ScheduleTest, TheSpacingKeepsThePauseThreshold) {
  schedule();
  ASSERT_TRUE(advance());
  collect(milliseconds(40));
  EXPECT_EQ(until_next(), milliseconds(40 * 49));  // 40 of 2000 ms are 2 %
  schedule_->requested(now_);
  ASSERT_TRUE(advance());
  collect(milliseconds(20));
  EXPECT_EQ(until_next(), milliseconds(30 * 49));  // the average counts
}

TEST_F(ScheduleTest, ShortCollectionsCountAsFiveMilliseconds) {
  schedule();
  ASSERT_TRUE(advance());
  collect(nanoseconds(100));
  EXPECT_EQ(until_next(), milliseconds(5 * 49));
}

TEST_F(ScheduleTest, OneThatWouldFindNothingIsPutOff) {
  auto& s = schedule();
  ASSERT_TRUE(advance());
  collect(milliseconds(10));
  s.mutated(99, false, now_);
  EXPECT_FALSE(advance());
  EXPECT_EQ(until_next(), milliseconds(490));
  s.mutated(100, false, now_);
  EXPECT_EQ(until_next(), milliseconds(490));  // enough changes do not hurry it, but it happens
  EXPECT_TRUE(advance());
}

TEST_F(ScheduleTest, ADeletionLetsTheRegularOneHappen) {
  auto& s = schedule();
  ASSERT_TRUE(advance());
  collect(milliseconds(10));
  s.mutated(1, true, now_);
  EXPECT_EQ(until_next(), milliseconds(490));
  EXPECT_TRUE(advance());
  collect(milliseconds(10));
  EXPECT_FALSE(advance());  // it has been seen
}

TEST_F(ScheduleTest, TheDeletionThresholdHurries) {
  ScheduleOptions options;
  options.deletion_threshold = 3;
  options.schedule_delay = milliseconds(20);
  auto& s = schedule(options);
  ASSERT_TRUE(advance());
  collect(milliseconds(10));
  s.mutated(1, true, now_);
  s.mutated(2, true, now_);
  EXPECT_EQ(until_next(), milliseconds(490));
  s.mutated(3, true, now_);
  EXPECT_EQ(until_next(), milliseconds(20));
}

TEST_F(ScheduleTest, AnEventMayStandForSeveralDeletions) {
  ScheduleOptions options;
  options.deletion_threshold = 3;
  auto& s = schedule(options);
  ASSERT_TRUE(advance());
  collect(milliseconds(10));
  s.mutated(3, true, now_);
  EXPECT_EQ(until_next(), nanoseconds(0));
}

TEST_F(ScheduleTest, ARequestComesAfterItsDelayAndNotLaterThanTheRegularOne) {
  ScheduleOptions options;
  options.schedule_delay = milliseconds(30);
  auto& s = schedule(options);
  ASSERT_TRUE(advance());
  collect(milliseconds(10));
  s.requested(now_);
  EXPECT_EQ(until_next(), milliseconds(30));
  now_ += milliseconds(10);
  s.requested(now_);
  EXPECT_EQ(until_next(), milliseconds(20));
  EXPECT_TRUE(advance());
}

TEST_F(ScheduleTest, ARequestDuringACollectionCausesAnother) {
  auto& s = schedule();
  ASSERT_TRUE(advance());
  s.requested(now_);
  collect(milliseconds(10));
  EXPECT_LE(until_next(), nanoseconds(0));
  EXPECT_TRUE(s.take_due(now_));
}

TEST_F(ScheduleTest, ChangesDuringACollectionStayPending) {
  auto& s = schedule();
  s.mutated(50, false, now_);
  ASSERT_TRUE(advance());
  s.mutated(53, true, now_);
  EXPECT_EQ(s.pending_mutations(), 53U);
  collect(milliseconds(10));
  EXPECT_EQ(s.pending_mutations(), 3U);
  EXPECT_TRUE(advance());
  collect(milliseconds(10));
  EXPECT_EQ(s.pending_mutations(), 0U);
}

TEST_F(ScheduleTest, FailuresAreTriedAgainMoreAndMoreSlowly) {
  auto& s = schedule();
  for (int i = 1; i <= 3; ++i) {
    ASSERT_TRUE(advance()) << i;
    s.failed(now_);
    EXPECT_EQ(until_next(), seconds(i));
  }
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(advance());
    s.failed(now_);
  }
  EXPECT_EQ(until_next(), seconds(60));
  ASSERT_TRUE(advance());
  collect(milliseconds(10));
  ASSERT_EQ(until_next(), milliseconds(490));
  s.requested(now_);
  ASSERT_TRUE(advance());
  s.failed(now_);
  EXPECT_EQ(until_next(), seconds(1));  // a success starts the count anew
}

TEST_F(ScheduleTest, AFailureIsNoReasonToForgetWhatIsPending) {
  auto& s = schedule();
  s.mutated(5, true, now_);
  ASSERT_TRUE(advance());
  s.failed(now_);
  EXPECT_EQ(s.pending_mutations(), 5U);
  EXPECT_TRUE(advance());
}

TEST_F(ScheduleTest, ACounterThatFallsBackIsIgnored) {
  auto& s = schedule();
  s.mutated(10, false, now_);
  s.mutated(4, false, now_);
  EXPECT_EQ(s.pending_mutations(), 10U);
}

TEST(ScheduleOptions, AreMovedIntoTheirRanges) {
  ScheduleOptions options;
  options.pause_threshold = 3;
  options.deletion_threshold = -1;
  options.mutation_threshold = -1;
  options.schedule_delay = seconds(-1);
  options.startup_delay = seconds(-1);
  const ScheduleOptions clamped = options.clamped();
  EXPECT_EQ(clamped.pause_threshold, 0.5);
  EXPECT_EQ(clamped.deletion_threshold, 0);
  EXPECT_EQ(clamped.mutation_threshold, 0);
  EXPECT_EQ(clamped.schedule_delay, nanoseconds(0));
  EXPECT_EQ(clamped.startup_delay, nanoseconds(0));
  options.pause_threshold = -1;
  EXPECT_EQ(options.clamped().pause_threshold, 0);
}

}  // namespace
}  // namespace berth::gc
