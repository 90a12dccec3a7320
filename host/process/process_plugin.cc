#include "process/process_plugin.h"

#include <berth/context.h>
#include <poll.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <filesystem>

#include "ops/logging.h"
#include "ops/stopped.h"

namespace berth::process {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr milliseconds kOrderlyExit{1000};  // of a process whose link has ended
constexpr milliseconds kEndPatience{200};   // for the kernel to say how a process ended
constexpr milliseconds kMemoryInterval{200};
constexpr uint32_t kPings = 6;  // without an answer in a row, until the process counts as hung

std::string mebibytes(uint64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

std::string in_seconds(nanoseconds time) {
  return fmt::format("{:g} s", std::chrono::duration<double>(time).count());
}

}  // namespace

std::string ProcessFacts::silence() const {
  const bool missed = unanswered >= hang_timeout / kPings;
  if (pid == 0 || (stopped.empty() && !missed)) return {};
  std::string text = "its process (pid " + std::to_string(pid) + ") " + stopped;
  if (missed) {
    text += stopped.empty() ? "" : " and ";
    text += fmt::format("has not answered for {:.1f} s",
                        std::chrono::duration<double>(unanswered).count());
  }
  return text;
}

Result<std::string> program_beside_this() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  const auto program = self.parent_path() / "berth-plugin-run";
  if (::access(program.c_str(), X_OK) == 0) return program.string();
  return errno_status(errno, "run a plugin in a process of its own with " + program.string());
}

ProcessPlugin::ProcessPlugin(ProcessOptions options, abi::InstanceSettings settings,
                             const abi::HostFacts& host)
    : options_(std::move(options)),
      settings_(std::move(settings)),
      host_(host),
      uri_(settings_.type + "." + settings_.id),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  told_ = {host_, settings_, options_.log, {}};
  for (const auto& [name, targets] : settings_.bindings) {
    auto& offered = told_.bindings[name];
    for (bus::Target* target : targets) {
      const auto known = std::find(offered_.begin(), offered_.end(), target);
      const auto number = static_cast<uint32_t>(known - offered_.begin());
      if (known == offered_.end()) offered_.push_back(target);
      offered.push_back({number, target->identity(), link::services_of(*target)});
    }
  }
  supervisor_ = std::thread([this] { supervise(); });
}

// -- first start ----------------------------------------------------------------------------------

ProcessPlugin::Step ProcessPlugin::on_supervisor(link::StepName step, std::function<Step()> task) {
  std::optional<Step> result;
  std::unique_lock lock(mutex_);
  tasks_.emplace_back([&] {
    Step outcome = task();
    const std::lock_guard inner(mutex_);
    // What could not be loaded has no target that others could be connected to.
    if (outcome.outcome == Outcome::kFailed && target_ != nullptr && !stop_asked_) {
      last_end_ = "its first start failed in its " + std::string(link::name_of(step)) + ": " +
                  outcome.status.message();
      target_->refuse(last_end_ + "; berthd starts it again");
      goes_on_ = started_ = true;
    }
    result = std::move(outcome);
    changed_.notify_all();
  });
  changed_.notify_all();
  changed_.wait(lock, [&] { return result.has_value(); });
  if (result->outcome != Outcome::kOk && !goes_on_) {
    over_ = true;  // nothing is supervised that never ran
    changed_.notify_all();
    lock.unlock();
    supervisor_.join();
  }
  return *std::move(result);
}

ProcessPlugin::Step ProcessPlugin::first_step(link::StepName step) {
  std::shared_ptr<Life> life;
  {
    const std::lock_guard lock(mutex_);
    life = life_;
  }
  Step result = run_step(life, step, BERTH_FOREVER);
  if (result.outcome != Outcome::kOk) bury(life);
  return result;
}

// All of it on the supervisor's thread: the kernel ends the process with the thread that began it.
ProcessPlugin::Step ProcessPlugin::probe() {
  return on_supervisor(link::StepName::kProbe, [this]() -> Step {
    auto life = spawn();
    if (!life.ok()) return {Outcome::kFailed, life.status()};
    if (Step loaded = load(*life); loaded.outcome != Outcome::kOk) {
      bury(*life);
      return loaded;
    }
    return first_step(link::StepName::kProbe);
  });
}

ProcessPlugin::Step ProcessPlugin::init() {
  return on_supervisor(link::StepName::kInit, [this] { return first_step(link::StepName::kInit); });
}

ProcessPlugin::Step ProcessPlugin::start() {
  return on_supervisor(link::StepName::kStart, [this] {
    Step step = first_step(link::StepName::kStart);
    const std::lock_guard lock(mutex_);
    started_ = step.outcome == Outcome::kOk;
    return step;
  });
}

bool ProcessPlugin::goes_on() const {
  const std::lock_guard lock(mutex_);
  return goes_on_;
}

void ProcessPlugin::set_log(const link::LogSettings& log) {
  const std::lock_guard lock(mutex_);
  told_.log = log;
  // One that has no settings yet gets them with this in them.
  if (life_ != nullptr && life_->link != nullptr) {
    life_->link->send(link::FrameType::kLogLevel, link::encode(log));
  }
}

// -- one life -------------------------------------------------------------------------------------

Result<std::shared_ptr<ProcessPlugin::Life>> ProcessPlugin::spawn() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return errno_status(errno, "make the link of " + uri_);
  }
  UniqueFd ours(ends[0]);
  BERTH_ASSIGN_OR_RETURN(
      Child child,
      Child::spawn(
          {options_.program, options_.file, "--plugin",
           settings_.type + "." + (settings_.entry_id.empty() ? settings_.id : settings_.entry_id),
           "--link", std::to_string(Child::kLinkFd), "--parent", std::to_string(::getpid())},
          UniqueFd(ends[1])));
  auto life = std::make_shared<Life>(std::move(child));
  hold_memory(life.get());
  link::Link::Hooks hooks;
  hooks.control = [this, life](link::Frame frame) {
    return take_control(life.get(), std::move(frame));
  };
  hooks.down = [this, life](const Status& why) { return link_down(life.get(), why); };
  life->link = std::make_shared<link::Link>(std::move(ours), std::move(hooks));
  life->link->offer(offered_);
  {
    const std::lock_guard lock(mutex_);
    life_ = life;
  }
  life->link->start();
  return life;
}

/// What the program has used before this, which is little, stays counted as berthd's.
void ProcessPlugin::hold_memory(Life* life) {
  if (options_.memory_max == 0) return;
  Status held = failed_precondition(options_.only_measured);
  if (options_.only_measured.empty()) {
    auto made = MemoryCgroup::make(uri_, options_.memory_max);
    held = made.ok() ? made->add(life->child.pid()) : made.status();
    if (held.ok()) life->cgroup.emplace(*std::move(made));
  }
  std::string by = held.ok() ? "the kernel, by a cgroup"
                             : "berthd, which looks five times a second: " + held.message();
  const std::lock_guard lock(mutex_);
  if (by != memory_held_by_) {
    spdlog::info("{} is held to memory_max by {}", uri_,
                 held.ok() ? by + ", " + life->cgroup->folder() : by);
  }
  memory_held_by_ = std::move(by);
}

ProcessPlugin::Step ProcessPlugin::load(const std::shared_ptr<Life>& life) {
  {
    std::unique_lock lock(mutex_);
    const bool in_time = changed_.wait_for(lock, options_.start_timeout, [&] {
      return life->loaded || life->outcome || life->down || stop_asked_;
    });
    if (!life->loaded) {
      if (life->outcome) return life->outcome->result;
      if (life->down) return {Outcome::kFailed, unavailable(life->ended + " in its load")};
      lock.unlock();
      const std::string late = "was not loaded within " + in_seconds(options_.start_timeout);
      if (!in_time) condemn(life, late);
      return {Outcome::kFailed, deadline_exceeded("its process " + late)};
    }
  }
  if (life->loaded->version != link::kVersion) {
    return {Outcome::kFailed,
            failed_precondition(options_.program +
                                " is of another version than this daemon: restart berthd")};
  }
  if (target_ == nullptr) {
    services_ = life->loaded->services;
    target_ = link::make_remote_target(
        {uri_, settings_.type, settings_.id, settings_.capabilities}, services_,
        [this](uint32_t method, bus::Call* call) { pass(method, call); });
  } else if (services_ != life->loaded->services) {
    return {Outcome::kFailed,
            failed_precondition(options_.file + " serves other methods than when the daemon "
                                                "started: restart berthd to use it")};
  }
  const std::lock_guard lock(mutex_);  // or set_log() might come between
  life->link->send(link::FrameType::kSettings, link::encode(told_));
  return {};
}

ProcessPlugin::Step ProcessPlugin::run_step(const std::shared_ptr<Life>& life, link::StepName step,
                                            int64_t deadline) {
  const int64_t end = std::min(deadline, monotonic_now() + options_.start_timeout.count());
  std::unique_lock lock(mutex_);
  life->outcome.reset();
  life->link->send(link::FrameType::kStep, link::encode(link::StepOrder{step, deadline}));
  const auto over = [&] {
    return life->outcome || life->down || (stop_asked_ && step != link::StepName::kStop);
  };
  changed_.wait_for(lock, nanoseconds(std::max<int64_t>(end - monotonic_now(), 0)), over);
  if (life->outcome) return life->outcome->result;
  const std::string name(link::name_of(step));
  if (life->down) return {Outcome::kFailed, unavailable(life->ended + " in its " + name)};
  if (stop_asked_ && step != link::StepName::kStop) {
    return {Outcome::kFailed, cancelled("the daemon is stopping")};
  }
  lock.unlock();
  const std::string late = "did not end its " + name + " in time";
  condemn(life, late);
  return {Outcome::kFailed, deadline_exceeded("its process " + late)};
}

ProcessPlugin::Step ProcessPlugin::bring_up() {
  auto spawned = spawn();
  if (!spawned.ok()) return {Outcome::kFailed, spawned.status()};
  const std::shared_ptr<Life> life = *spawned;
  Step step = load(life);
  for (const link::StepName name :
       {link::StepName::kProbe, link::StepName::kInit, link::StepName::kStart}) {
    if (step.outcome != Outcome::kOk) break;
    step = run_step(life, name, BERTH_FOREVER);
    if (name == link::StepName::kInit && step.outcome == Outcome::kOk) {
      // Never after the link's end has refused calls.
      const std::lock_guard lock(mutex_);
      if (!life->down && !stop_asked_) target_->ready();
    }
  }
  if (step.outcome == Outcome::kOk) return step;
  target_->refuse("its start failed: " + step.status.message());
  bury(life);
  return step;
}

void ProcessPlugin::condemn(const std::shared_ptr<Life>& life, const std::string& why) {
  {
    const std::lock_guard lock(mutex_);
    if (life->down) return;
    if (life->verdict.empty()) life->verdict = why;
  }
  life->child.kill();
}

void ProcessPlugin::bury(const std::shared_ptr<Life>& life) {
  // One that has ended by itself was not expected to, and its link may still have to say so.
  if (!life->child.ending(milliseconds(0))) {
    const std::lock_guard lock(mutex_);
    life->expected = true;
  }
  life->link->close("berthd ended the plugin's process");
  if (!life->child.ending(kOrderlyExit)) life->child.kill();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return life->down; });
  if (life_ == life) life_ = nullptr;
  life->link.reset();
  lock.unlock();
  const uint64_t cpu = life->child.reap();
  life->cgroup.reset();
  lock.lock();
  buried_cpu_ += cpu;
}

// -- what the link says ---------------------------------------------------------------------------

Status ProcessPlugin::take_control(Life* life, link::Frame frame) {
  switch (frame.header.type) {
    case link::FrameType::kLoaded: {
      BERTH_ASSIGN_OR_RETURN(link::Loaded loaded, link::decode_loaded(frame.bytes()));
      const std::lock_guard lock(mutex_);
      if (!life->loaded) life->loaded = std::move(loaded);
      changed_.notify_all();
      return {};
    }
    case link::FrameType::kOutcome: {
      BERTH_ASSIGN_OR_RETURN(link::StepOutcome outcome, link::decode_outcome(frame.bytes()));
      const std::lock_guard lock(mutex_);
      life->outcome = std::move(outcome);
      changed_.notify_all();
      return {};
    }
    case link::FrameType::kLog: {
      BERTH_ASSIGN_OR_RETURN(const link::LogLine line, link::decode_log(frame.bytes()));
      ops::log_line(line.level, line.text, uri_);
      return {};
    }
    case link::FrameType::kUnhealthy: {
      const auto reason = std::string(frame.bytes());
      std::shared_ptr<Life> held;
      {
        const std::lock_guard lock(mutex_);
        if (life_.get() == life) held = life_;
      }
      if (held != nullptr) condemn(held, "reported itself unhealthy (" + reason + ")");
      return {};
    }
    case link::FrameType::kPong: {
      const std::lock_guard lock(mutex_);
      life->asked = 0;
      return {};
    }
    default:
      return data_loss("the other side sent what is no frame: one that only the host sends");
  }
}

/// With the lock held.
std::string ProcessPlugin::how_it_ended(const Life& life, const std::string& ending) const {
  if (!life.verdict.empty()) return life.verdict + " and was killed";
  // A program that the plugin has started may have been the one that was ended.
  const bool by_signal = !ending.starts_with("ended with");
  if (by_signal && life.cgroup && life.cgroup->was_exceeded()) {
    return "needed more memory than its memory_max of " + mebibytes(options_.memory_max) +
           " and was killed by the kernel";
  }
  return ending;
}

Status ProcessPlugin::link_down(Life* life, const Status& why) {
  if (why.code() != Code::kUnavailable) {
    {
      const std::lock_guard lock(mutex_);
      if (life->verdict.empty()) life->verdict = "is out of order (" + why.message() + ")";
    }
    life->child.kill();
  }
  auto ending = life->child.ending(kEndPatience);
  if (!ending) ending = "closed its link";
  std::string text;
  {
    const std::lock_guard lock(mutex_);
    text = "its process (pid " + std::to_string(life->child.pid()) + ") " +
           how_it_ended(*life, *ending);
    life->ended = text;
    // Refused first, so that who asks again at once is not lost too.
    if (target_ != nullptr && target_->is_ready() && !life->expected) {
      target_->refuse(text + "; berthd starts it again");
    }
    life->down = true;
    changed_.notify_all();
  }
  wake();
  return unavailable(text +
                     " during the call, of which nobody knows how far it came; berthd starts it "
                     "again: look, and ask again");
}

void ProcessPlugin::pass(uint32_t method, bus::Call* call) {
  std::shared_ptr<link::Link> link;
  {
    const std::lock_guard lock(mutex_);
    if (life_ != nullptr) link = life_->link;
  }
  if (link != nullptr) return link->pass(0, method, call);
  const Status status = unavailable("call of " + call->describe() + ": its process has ended");
  const berth_status raw = borrow(status);
  call->finish(&raw, nullptr);
}

// -- supervision ----------------------------------------------------------------------------------

void ProcessPlugin::wake() {
  const uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof one);
}

void ProcessPlugin::supervise() {
  std::unique_lock lock(mutex_);
  while (!over_) {
    if (!tasks_.empty()) {
      const std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    } else if (!started_) {
      changed_.wait(lock);
    } else if (life_ != nullptr) {
      const std::shared_ptr<Life> life = life_;
      watching_ = true;
      lock.unlock();
      const int64_t began = monotonic_now();
      watch(life);
      bury(life);
      lock.lock();
      watching_ = false;
      if (over_ || stop_asked_) continue;
      if (monotonic_now() - began >= options_.steady.count()) delay_ = nanoseconds(0);
      last_end_ = life->ended;
    } else if (stop_asked_) {
      changed_.wait(lock);
    } else {
      lock.unlock();
      restart();
      lock.lock();
    }
  }
  const std::shared_ptr<Life> last = life_;
  lock.unlock();
  if (last != nullptr) bury(last);
}

void ProcessPlugin::restart() {
  std::string why;
  uint64_t number = 0;
  {
    std::unique_lock lock(mutex_);
    delay_ =
        delay_ == nanoseconds(0) ? options_.first_delay : std::min(delay_ * 2, options_.max_delay);
    why = last_end_ + "; berthd starts it again in " + in_seconds(delay_);
    if (!stop_asked_) target_->refuse(why);
    lock.unlock();
    spdlog::error("{}: {}", uri_, why);
    lock.lock();
    if (changed_.wait_for(lock, delay_, [this] { return stop_asked_; })) return;
    number = ++restarts_;
  }
  const Step step = bring_up();
  const std::lock_guard lock(mutex_);
  if (step.outcome == Outcome::kOk) {
    spdlog::warn("{} runs again, pid {}, after restart {}", uri_,
                 life_ == nullptr ? 0 : life_->child.pid(), number);
  } else if (!stop_asked_) {
    last_end_ = "restart " + std::to_string(number) + " failed: " + step.status.message();
  }
}

void ProcessPlugin::watch(const std::shared_ptr<Life>& life) {
  const auto ping_interval =
      std::max<nanoseconds>(options_.hang_timeout / kPings, milliseconds(10));
  const bool measured = options_.memory_max != 0 && !life->cgroup;
  const auto tick = std::chrono::duration_cast<milliseconds>(
      measured ? std::min<nanoseconds>(ping_interval, kMemoryInterval) : ping_interval);
  int64_t next_ping = monotonic_now();
  uint32_t unanswered = 0;
  while (true) {
    {
      const std::lock_guard lock(mutex_);
      if (life->down || over_) return;
    }
    pollfd events[2] = {{life->child.pidfd(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
    const int ready = ::poll(events, 2, static_cast<int>(tick.count()));
    if (ready < 0 && errno != EINTR) return;
    if (events[0].revents != 0) return;
    uint64_t count = 0;
    if (events[1].revents != 0) (void)!::read(wake_.get(), &count, sizeof count);
    if (measured) {
      const uint64_t own = life->child.usage().own_bytes;
      if (own > options_.memory_max) {
        condemn(life, "had " + mebibytes(own) + " of memory, more than its memory_max of " +
                          mebibytes(options_.memory_max) + ",");
      }
    }
    if (monotonic_now() < next_ping) continue;
    // Counted in pings and not in time, of which this process may have lost some, too.
    next_ping = monotonic_now() + ping_interval.count();
    bool answered = false;
    {
      const std::lock_guard lock(mutex_);
      answered = life->asked == 0;
      if (answered) life->asked = monotonic_now();
    }
    unanswered = answered ? 0 : unanswered + 1;
    if (unanswered >= kPings) {
      condemn(life, "did not answer for " + in_seconds(options_.hang_timeout));
    } else {
      life->link->send(link::FrameType::kPing, link::Encoder().number(next_ping).bytes());
    }
  }
}

void ProcessPlugin::stop(int64_t deadline) {
  std::shared_ptr<Life> life;
  {
    const std::lock_guard lock(mutex_);
    stop_asked_ = true;
    if (watching_) life = life_;  // else it is on its way down or up, and what it does is given up
    if (life != nullptr) life->expected = true;
    changed_.notify_all();
  }
  target_->refuse("the daemon is stopping");
  target_->cancel_all(unavailable("plugin " + uri_ + " is stopping: the daemon shuts down"));
  if (life != nullptr) {
    const Step stopped = run_step(life, link::StepName::kStop, deadline);
    if (stopped.outcome != Outcome::kOk) {
      spdlog::warn("{}: stop: {}", uri_, stopped.status.message());
    }
  }
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
    changed_.notify_all();
  }
  wake();
  if (supervisor_.joinable()) supervisor_.join();
  if (!target_->wait_idle(deadline)) {
    spdlog::warn("{}: {} calls did not end in time", uri_, target_->in_flight());
  }
}

ProcessFacts ProcessPlugin::facts() const {
  const std::lock_guard lock(mutex_);
  ProcessFacts facts;
  facts.restarts = restarts_;
  facts.last_end = last_end_;
  facts.stopping = stop_asked_;
  facts.hang_timeout = options_.hang_timeout;
  facts.memory_max = options_.memory_max;
  facts.memory_held_by = memory_held_by_;
  if (life_ != nullptr) {
    facts.pid = life_->child.pid();
    facts.usage = life_->child.usage();
    facts.stopped = ops::why_stopped(facts.pid);
    if (life_->asked != 0) facts.unanswered = nanoseconds(monotonic_now() - life_->asked);
  }
  facts.usage.cpu_nanoseconds += buried_cpu_;
  return facts;
}

}  // namespace berth::process
