#include "scheduler.h"

#include <system_error>

namespace berth::gc {
namespace {

Time now() { return std::chrono::steady_clock::now(); }

Status stopped_status() { return unavailable("garbage collection: the scheduler is stopped"); }

}  // namespace

Scheduler::Scheduler(const ScheduleOptions& options, Collector collector, Observer observer)
    : collector_(std::move(collector)), observer_(std::move(observer)), schedule_(options, now()) {}

Status Scheduler::start() {
  try {
    thread_ = std::jthread([this](std::stop_token stop) { run(std::move(stop)); });
  } catch (const std::system_error& error) {
    return unavailable(std::string("start the thread of the garbage collector: ") + error.what());
  }
  return {};
}

void Scheduler::stop() {
  std::vector<Done> unanswered;
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    unanswered.swap(waiting_);
  }
  if (thread_.joinable()) {
    thread_.request_stop();
    thread_.join();
  }
  for (const Done& done : unanswered) done(stopped_status());
}

void Scheduler::collect(Done done) {
  {
    const std::lock_guard lock(mutex_);
    if (!stopped_) {
      waiting_.push_back(std::move(done));
      schedule_.requested(now());
      changed_.notify_all();
      return;
    }
  }
  done(stopped_status());
}

void Scheduler::mutated(uint64_t mutations, bool dirty) {
  const std::lock_guard lock(mutex_);
  schedule_.mutated(mutations, dirty, now());
  changed_.notify_all();
}

berth::gc::v1::StatsResponse Scheduler::stats() const {
  const std::lock_guard lock(mutex_);
  berth::gc::v1::StatsResponse stats;
  stats.set_collections(collections_);
  stats.set_last_duration_ns(last_duration_ns_);
  stats.set_mutations_pending(schedule_.pending_mutations());
  stats.set_last_error(last_error_);
  return stats;
}

void Scheduler::run(std::stop_token stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    if (schedule_.take_due(now())) {
      run_collection(lock, stop);
      continue;
    }
    const std::optional<Time> next = schedule_.next();
    const auto earlier = [&] {
      const std::optional<Time> changed = schedule_.next();
      return changed && (!next || *changed < *next);
    };
    if (next) {
      changed_.wait_until(lock, stop, *next, earlier);
    } else {
      changed_.wait(lock, stop, earlier);
    }
  }
}

void Scheduler::run_collection(std::unique_lock<std::mutex>& lock, std::stop_token stop) {
  std::vector<Done> waiting;
  waiting.swap(waiting_);
  lock.unlock();
  const Time begin = now();
  Result<Collection> outcome = collector_(std::move(stop));
  const Time end = now();
  observer_(outcome);

  lock.lock();
  ++collections_;
  last_duration_ns_ = static_cast<uint64_t>(nanoseconds(end - begin).count());
  last_error_ = outcome.status().message();
  if (outcome.ok()) {
    schedule_.succeeded(end - begin, end);
  } else {
    schedule_.failed(end);
  }
  lock.unlock();
  for (const Done& done : waiting) done(outcome);
  lock.lock();
}

}  // namespace berth::gc
