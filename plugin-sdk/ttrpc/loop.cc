#include <berth/ttrpc/loop.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <climits>
#include <map>
#include <utility>

namespace berth::ttrpc {

struct Loop::Core {
  Core(UniqueFd epoll_fd, UniqueFd wake_fd)
      : epoll(std::move(epoll_fd)), wake(std::move(wake_fd)) {}
  void run();
  void run_due();
  int next_timeout_ms();
  void interrupt();
  /// With the mutex held: whether the thread waits, or will, and nobody has interrupt()ed it yet.
  /// Who asks has to.
  bool must_be_woken() { return std::exchange(asleep, false); }

  const UniqueFd epoll;
  const UniqueFd wake;
  std::mutex mutex;  // guards everything below
  bool stopping = false;
  bool asleep = false;
  Id last_id = 0;
  std::unordered_map<Id, std::shared_ptr<Ready>> sources;
  std::vector<std::function<void()>> posted;
  std::map<std::pair<int64_t, Id>, std::function<void()>> timers;
  std::unordered_map<Id, int64_t> timer_times;
};

int64_t monotonic_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

Result<std::shared_ptr<Loop>> Loop::start() {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return errno_status(errno, "start an event loop: epoll_create1");
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return errno_status(errno, "start an event loop: eventfd");
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = 0;
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) != 0) {
    return errno_status(errno, "start an event loop: epoll_ctl");
  }
  const auto core = std::make_shared<Core>(std::move(epoll), std::move(wake));
  std::shared_ptr<Loop> loop(new Loop(core));
  // The thread inherits the mask: signals are for the daemon's main thread.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  Status status;
  try {
    loop->thread_ = std::thread([core] {
      // By itself: a name that another thread gives goes by way of /proc/self/task, and what the
      // kernel remembers of that is in the way of a process that ends (docs/benchmarks.md).
      ::prctl(PR_SET_NAME, "ttrpc");
      core->run();
    });
  } catch (const std::system_error& error) {
    status = errno_status(error.code().value(), "start an event loop: create its thread");
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (!status.ok()) return status;
  return loop;
}

Loop::~Loop() {
  {
    const std::lock_guard lock(core_->mutex);
    core_->stopping = true;
  }
  core_->interrupt();
  if (on_loop_thread()) {
    thread_.detach();
  } else if (thread_.joinable()) {
    thread_.join();
  }
}

void Loop::Core::interrupt() {
  const uint64_t one = 1;
  // EAGAIN means that the counter is full, so the thread is being woken anyway.
  [[maybe_unused]] const ssize_t written = ::write(wake.get(), &one, sizeof one);
}

Result<Loop::Id> Loop::add(int fd, uint32_t events, Ready ready) {
  Id id = 0;
  {
    const std::lock_guard lock(core_->mutex);
    id = ++core_->last_id;
    core_->sources.emplace(id, std::make_shared<Ready>(std::move(ready)));
  }
  epoll_event event{};
  event.events = events;
  event.data.u64 = id;
  if (::epoll_ctl(core_->epoll.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    const int error = errno;
    const std::lock_guard lock(core_->mutex);
    core_->sources.erase(id);
    return errno_status(error, "watch descriptor " + std::to_string(fd) + ": epoll_ctl");
  }
  return id;
}

Status Loop::modify(Id id, int fd, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = id;
  if (::epoll_ctl(core_->epoll.get(), EPOLL_CTL_MOD, fd, &event) != 0) {
    return errno_status(errno, "watch descriptor " + std::to_string(fd) + ": epoll_ctl");
  }
  return {};
}

void Loop::remove(Id id, int fd) {
  std::shared_ptr<Ready> dropped;  // destroyed outside the lock: it may own what calls back
  {
    const std::lock_guard lock(core_->mutex);
    const auto found = core_->sources.find(id);
    if (found == core_->sources.end()) return;
    dropped = std::move(found->second);
    core_->sources.erase(found);
  }
  ::epoll_ctl(core_->epoll.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void Loop::post(std::function<void()> work) {
  bool wake = false;
  {
    const std::lock_guard lock(core_->mutex);
    core_->posted.push_back(std::move(work));
    wake = core_->must_be_woken();
  }
  if (wake) core_->interrupt();
}

Loop::Id Loop::at(int64_t when, std::function<void()> work) {
  Id id = 0;
  bool wake = false;
  {
    const std::lock_guard lock(core_->mutex);
    id = ++core_->last_id;
    const auto placed = core_->timers.emplace(std::pair(when, id), std::move(work)).first;
    core_->timer_times.emplace(id, when);
    wake = placed == core_->timers.begin() && core_->must_be_woken();
  }
  if (wake) core_->interrupt();
  return id;
}

bool Loop::cancel(Id timer) {
  std::function<void()> dropped;
  const std::lock_guard lock(core_->mutex);
  const auto found = core_->timer_times.find(timer);
  if (found == core_->timer_times.end()) return false;
  const auto entry = core_->timers.find({found->second, timer});
  dropped = std::move(entry->second);
  core_->timers.erase(entry);
  core_->timer_times.erase(found);
  return true;
}

int Loop::Core::next_timeout_ms() {
  const std::lock_guard lock(mutex);
  if (stopping || !posted.empty()) return 0;
  asleep = true;
  if (timers.empty()) return -1;
  const int64_t wait = timers.begin()->first.first - monotonic_ns();
  // Rounded up, so that a timer is due when the wait is over.
  return static_cast<int>(std::clamp<int64_t>((wait + 999'999) / 1'000'000, 0, INT_MAX));
}

void Loop::Core::run_due() {
  std::vector<std::function<void()>> due;
  {
    const std::lock_guard lock(mutex);
    due.swap(posted);
    const int64_t now = monotonic_ns();
    while (!timers.empty() && timers.begin()->first.first <= now) {
      timer_times.erase(timers.begin()->first.second);
      due.push_back(std::move(timers.begin()->second));
      timers.erase(timers.begin());
    }
  }
  for (auto& work : due) {
    work();
    work = nullptr;
  }
}

void Loop::Core::run() {
  std::array<epoll_event, 64> events;
  while (true) {
    const int count = ::epoll_wait(epoll.get(), events.data(), static_cast<int>(events.size()),
                                   next_timeout_ms());
    {
      const std::lock_guard lock(mutex);
      asleep = false;
      if (stopping) return;
    }
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<size_t>(i)];
      if (event.data.u64 == 0) {
        uint64_t drained = 0;
        [[maybe_unused]] const ssize_t got = ::read(wake.get(), &drained, sizeof drained);
        continue;
      }
      std::shared_ptr<Ready> ready;
      {
        const std::lock_guard lock(mutex);
        const uint64_t id = event.data.u64;  // a copy: the kernel's struct is packed
        const auto found = sources.find(id);
        if (found == sources.end()) continue;  // removed since the kernel reported it
        ready = found->second;
      }
      (*ready)(event.events);
    }
    run_due();
  }
}

}  // namespace berth::ttrpc
