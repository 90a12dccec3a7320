#include "linked_run.h"

#include <fcntl.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>

#include "abi/file_safety.h"
#include "abi/instance.h"
#include "abi/library.h"
#include "bus/current_plugin.h"
#include "link/control.h"
#include "link/link.h"
#include "manifest/manifest.h"
#include "ops/crash.h"
#include "ops/logging.h"

namespace berth::plugin_run {
namespace {

using Step = abi::Instance::Step;
using Outcome = abi::Instance::Outcome;
using link::FrameType;
using link::StepName;

/// More lines than that wait for a daemon that does not read them: the rest goes to stderr.
constexpr size_t kLogBacklog = 4 << 20;

/// berthd may be killed before or after this; in both cases nobody is left behind.
Status die_with(int64_t parent) {
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return errno_status(errno, "ask to die with berthd");
  if (::getppid() != parent) return failed_precondition("berthd has ended");
  return {};
}

/// What berthd asks for, in its order, from the link's thread to the main one.
class Orders {
 public:
  void put(link::Frame frame) {
    const std::lock_guard lock(mutex_);
    frames_.push_back(std::move(frame));
    changed_.notify_one();
  }
  link::Frame take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !frames_.empty(); });
    link::Frame frame = std::move(frames_.front());
    frames_.pop_front();
    return frame;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<link::Frame> frames_;
};

/// Lives as long as the process.
class LinkedPlugin {
 public:
  explicit LinkedPlugin(const LinkedOptions& options) : options_(options) {}

  [[noreturn]] void run() {
    const Status loaded = load();
    link::Link::Hooks hooks;
    hooks.control = [this](link::Frame frame) {
      orders_.put(std::move(frame));
      return Status();
    };
    // The daemon is gone, or has had enough of this process: every start is a recovery.
    hooks.down = [](const Status&) -> Status { ::_exit(0); };
    link_ = std::make_shared<link::Link>(UniqueFd(options_.link), std::move(hooks));
    link_->start();
    if (loaded.ok()) {
      link::Loaded facts;
      for (uint32_t i = 0; i < plugin_->service_count; ++i) {
        facts.services.push_back(link::facts_of(*plugin_->services[i]));
      }
      link_->send(FrameType::kLoaded, link::encode(facts));
    } else {
      tell(StepName::kLoad, {Outcome::kFailed, loaded});
    }
    while (true) obey(orders_.take());
  }

 private:
  Status load() {
    BERTH_ASSIGN_OR_RETURN(const manifest::Manifest manifest,
                           manifest::read_manifest(options_.file));
    BERTH_RETURN_IF_ERROR(abi::check_plugin_file(options_.file));
    BERTH_RETURN_IF_ERROR(abi::check_abi(options_.file, manifest.abi_major, manifest.abi_minor));
    std::vector<abi::DeclaredPlugin> declared;
    for (const manifest::Plugin& one : manifest.plugins) {
      declared.push_back({one.type, one.id, one.provides});
      if (one.uri() == options_.uri) chosen_ = one;
    }
    const bus::CurrentPlugin current(options_.uri, "load");
    BERTH_ASSIGN_OR_RETURN(const abi::Library library, abi::Library::load(options_.file, declared));
    plugin_ = library.find(chosen_.type, chosen_.id);
    if (plugin_ != nullptr) return {};
    return not_found("load plugin " + options_.file + ": it has no " + options_.uri);
  }

  void obey(const link::Frame& frame) {
    Status done;
    if (frame.header.type == FrameType::kSettings) {
      done = set_up(frame);
    } else if (frame.header.type == FrameType::kStep) {
      done = take_step(frame);
    } else if (frame.header.type == FrameType::kLogLevel) {
      done = set_log(frame);
    } else {
      done = data_loss("berthd sent a frame that only a plugin's process sends");
    }
    if (!done.ok()) link_->close(done.message());
  }

  Status set_up(const link::Frame& frame) {
    BERTH_ASSIGN_OR_RETURN(link::Settings settings, link::decode_settings(frame.bytes()));
    BERTH_RETURN_IF_ERROR(ops::configure_log(settings.log.level, settings.log.format));
    ops::send_log_to([link = link_](uint32_t level, std::string_view text) {
      // Not when the daemon does not read: the lines would fill this process's memory.
      if (link->backlog() > kLogBacklog) {
        (void)!::write(STDERR_FILENO, text.data(), text.size());
      } else {
        link->send(FrameType::kLog, link::encode(link::LogLine{level, std::string(text)}));
      }
    });
    for (const auto& [name, targets] : settings.bindings) {
      auto& bound = settings.instance.bindings[name];
      for (const link::OfferedTarget& one : targets) bound.push_back(connected(one));
    }
    settings.instance.tell_unhealthy = [link = link_](const std::string& why) {
      link->send(FrameType::kUnhealthy, why);
    };
    // Both live for ever.
    const auto& host = *new abi::HostFacts(std::move(settings.host));
    instance_ = new abi::Instance(*plugin_, std::move(settings.instance), host);
    link_->offer({&instance_->target()});
    return {};
  }

  static Status set_log(const link::Frame& frame) {
    BERTH_ASSIGN_OR_RETURN(const link::LogSettings log, link::decode_log_settings(frame.bytes()));
    return ops::configure_log(log.level, log.format);
  }

  /// The same plugin is one target, whatever requirements it is bound to.
  bus::Target* connected(const link::OfferedTarget& one) {
    bus::Target*& target = connected_[one.number];
    if (target == nullptr) {
      target = link::make_remote_target(
          one.identity, one.services,
          [link = link_, number = one.number](uint32_t method, bus::Call* call) {
            link->pass(number, method, call);
          });
      target->ready();
    }
    return target;
  }

  Status take_step(const link::Frame& frame) {
    BERTH_ASSIGN_OR_RETURN(const link::StepOrder order, link::decode_step(frame.bytes()));
    if (instance_ == nullptr) return failed_precondition("berthd asks for a step before settings");
    tell(order.step, perform(order));
    return {};
  }

  Step perform(const link::StepOrder& order) {
    const bus::CurrentPlugin current(options_.uri, link::name_of(order.step));
    switch (order.step) {
      case StepName::kProbe:
        return instance_->probe();
      case StepName::kInit: {
        Step step = instance_->init();
        if (step.outcome == Outcome::kOk) instance_->ready();
        return step;
      }
      case StepName::kStart:
        return instance_->start();
      case StepName::kStop:
        instance_->stop(order.deadline);
        return {};
      case StepName::kLoad:
        break;
    }
    return {Outcome::kFailed, unimplemented("a step that this program does not know")};
  }

  void tell(StepName step, Step result) {
    link_->send(FrameType::kOutcome, link::encode(link::StepOutcome{step, std::move(result)}));
  }

  const LinkedOptions& options_;
  manifest::Plugin chosen_;
  const berth_plugin* plugin_ = nullptr;
  std::shared_ptr<link::Link> link_;
  Orders orders_;
  std::map<uint32_t, bus::Target*> connected_;
  abi::Instance* instance_ = nullptr;
};

}  // namespace

Status run_linked(const LinkedOptions& options) {
  BERTH_RETURN_IF_ERROR(die_with(options.parent));
  ::signal(SIGPIPE, SIG_IGN);
  // Programs that the plugin starts have no business with it.
  if (::fcntl(options.link, F_SETFD, FD_CLOEXEC) != 0) {
    return errno_status(errno, "use descriptor " + std::to_string(options.link) + " as the link");
  }
  ops::name_plugin_on_crash("berth-plugin-run", "its process ends, and berthd starts it again");
  (new LinkedPlugin(options))->run();
}

}  // namespace berth::plugin_run
