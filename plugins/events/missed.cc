#include "missed.h"

#include <time.h>

#include <utility>

#include "containerd/events/task.pb.h"

namespace berth::events {
namespace {

using containerd::types::Envelope;

// More than end within seconds; the oldest go first.
constexpr size_t kMostKept = 4096;

template <typename Event>
Event decoded(const Envelope& envelope) {
  Event event;
  if (!event.ParseFromString(envelope.event().value())) event.Clear();
  return event;
}

std::string process(const Envelope& envelope, const std::string& container, const std::string& id) {
  // No identifier has a slash.
  return envelope.namespace_() + "/" + container + "/" + id;
}

}  // namespace

Missed::Missed(Clock::duration window)
    : born_([] {
        timespec now{};
        ::clock_gettime(CLOCK_REALTIME, &now);
        google::protobuf::Timestamp at;
        at.set_seconds(now.tv_sec);
        at.set_nanos(static_cast<int32_t>(now.tv_nsec));
        return at;
      }()),
      until_(Clock::now() + window) {}

bool Missed::note(const Envelope& envelope, Clock::time_point now) {
  if (over(now)) return false;
  const std::string& topic = envelope.topic();
  std::string of;
  if (topic == "/tasks/start") {
    const auto event = decoded<containerd::events::TaskStart>(envelope);
    remember_start(envelope, process(envelope, event.container_id(), event.container_id()));
    return true;
  }
  if (topic == "/tasks/exec-started") {
    const auto event = decoded<containerd::events::TaskExecStarted>(envelope);
    remember_start(envelope, process(envelope, event.container_id(), event.exec_id()));
    return true;
  }
  if (topic == "/tasks/exit") {
    const auto event = decoded<containerd::events::TaskExit>(envelope);
    of = process(envelope, event.container_id(), event.id());
  } else if (topic == "/tasks/oom") {
    const auto event = decoded<containerd::events::TaskOOM>(envelope);
    of = process(envelope, event.container_id(), event.container_id());
  } else {
    return true;
  }
  if (started_.contains(of)) return true;
  if (kept_.size() >= kMostKept) kept_.pop_front();
  kept_.push_back(envelope);
  return true;
}

// A shim may tell now of a start before this life.
void Missed::remember_start(const Envelope& envelope, std::string process) {
  const auto when = [](const google::protobuf::Timestamp& at) {
    return std::pair(at.seconds(), at.nanos());
  };
  if (when(envelope.timestamp()) >= when(born_)) started_.insert(std::move(process));
}

const std::deque<Envelope>& Missed::kept(Clock::time_point now) {
  over(now);
  return kept_;
}

bool Missed::over(Clock::time_point now) {
  if (!over_ && now >= until_) {
    over_ = true;
    kept_ = {};
    started_ = {};
  }
  return over_;
}

}  // namespace berth::events
