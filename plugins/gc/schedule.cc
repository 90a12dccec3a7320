#include "schedule.h"

#include <algorithm>
#include <utility>

namespace berth::gc {
namespace {

// Shorter collections count as this long, lest they be scheduled again at once.
constexpr nanoseconds kLeastTime = std::chrono::milliseconds(5);
constexpr nanoseconds kRetryStep = std::chrono::seconds(1);
constexpr nanoseconds kLongestRetry = std::chrono::minutes(1);

}  // namespace

ScheduleOptions ScheduleOptions::clamped() const {
  ScheduleOptions options = *this;
  options.pause_threshold = std::clamp(pause_threshold, 0.0, 0.5);
  options.deletion_threshold = std::max<int64_t>(deletion_threshold, 0);
  options.mutation_threshold = std::max<int64_t>(mutation_threshold, 0);
  options.schedule_delay = std::max(schedule_delay, nanoseconds(0));
  options.startup_delay = std::max(startup_delay, nanoseconds(0));
  return options;
}

Schedule::Schedule(const ScheduleOptions& options, Time now) : options_(options.clamped()) {
  if (options_.startup_delay > nanoseconds(0)) next_ = now + options_.startup_delay;
}

void Schedule::mutated(uint64_t mutations, bool dirty, Time now) {
  const uint64_t before = std::exchange(mutations_, std::max(mutations_, mutations));
  // An event may stand for several changes; counting them all as deletions makes a collection too
  // early, never too late.
  if (dirty) deletions_ += static_cast<int64_t>(std::max<uint64_t>(mutations_ - before, 1));
  consider(now);
}

void Schedule::requested(Time now) {
  requested_ = true;
  consider(now);
}

// Moves the next collection forward when there is reason to.
void Schedule::consider(Time now) {
  const bool enough_deletions =
      options_.deletion_threshold > 0 && deletions_ >= options_.deletion_threshold;
  const bool first_reason =
      !next_ && ((options_.deletion_threshold == 0 && deletions_ > 0) || worthwhile());
  if (!requested_ && !enough_deletions && !first_reason) return;
  const Time wanted = now + options_.schedule_delay;
  if (!next_ || *next_ > wanted) next_ = wanted;
}

bool Schedule::worthwhile() const {
  return options_.mutation_threshold > 0 &&
         pending_mutations() >= static_cast<uint64_t>(options_.mutation_threshold);
}

bool Schedule::take_due(Time now) {
  if (!next_ || *next_ > now) return false;
  if (!requested_ && last_ && deletions_ == 0 && !worthwhile()) {
    next_ = now + interval_;
    return false;
  }
  next_.reset();
  requested_ = false;
  begun_deletions_ = deletions_;
  begun_mutations_ = mutations_;
  return true;
}

void Schedule::succeeded(nanoseconds took, Time now) {
  time_sum_ += took;
  ++collections_;
  retry_delay_ = nanoseconds(0);
  deletions_ -= begun_deletions_;
  collected_mutations_ = begun_mutations_;
  last_ = now;
  if (options_.pause_threshold > 0) {
    const auto average = std::max(time_sum_ / collections_, kLeastTime);
    const auto ticks = static_cast<double>(average.count());
    interval_ = nanoseconds(static_cast<int64_t>(ticks / options_.pause_threshold - ticks));
  }
  // A request that came meanwhile has set its own, earlier time.
  const Time regular = now + interval_;
  if (!next_ || *next_ > regular) next_ = regular;
  consider(now);
}

void Schedule::failed(Time now) {
  retry_delay_ = std::min(retry_delay_ + kRetryStep, kLongestRetry);
  last_ = now;
  if (deletions_ == 0) deletions_ = 1;  // there is a reason to try again, whoever gave it
  const Time retry = now + std::max(retry_delay_, options_.schedule_delay);
  if (!next_ || *next_ > retry) next_ = retry;
}

}  // namespace berth::gc
