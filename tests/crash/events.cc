#include "events.h"

#include <google/protobuf/empty.pb.h>

#include <algorithm>
#include <stdexcept>

#include "containerd/events/task.pb.h"
#include "containerd/services/events/v1/events.pb.h"

namespace berth::crash {
namespace {

/// A daemon that lives for so long after it told an event has answered the one that sent it.
constexpr auto kAnswered = std::chrono::seconds(1);
constexpr const char* kProbe = "/crash/probe";

}  // namespace

Events::Events(const Daemon& daemon) : daemon_(daemon), thread_([this] { follow(); }) {
  try {
    synchronize();
  } catch (...) {
    end();
    throw;
  }
}

Events::~Events() { end(); }

void Events::end() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    if (reading_ != nullptr) reading_->TryCancel();
    changed_.notify_all();
  }
  thread_.join();
}

void Events::follow() {
  while (true) {
    grpc::ClientContext context;
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
      reading_ = &context;
    }
    int life = 0;
    try {
      life = daemon_.life();
    } catch (const std::runtime_error&) {
      // The round tells why.
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, milliseconds(100), [this] { return stopping_; });
      reading_ = nullptr;
      continue;
    }
    const Client client(daemon_.address(), daemon_.space());
    const auto reader = client.subscribe(&context);
    containerd::types::Envelope envelope;
    while (reader->Read(&envelope)) {
      const std::lock_guard lock(mutex_);
      if (envelope.topic() == kProbe) {
        probe_ = std::max(probe_, std::atoi(envelope.event().value().c_str()));
        changed_.notify_all();
      }
      containerd::events::TaskExit exit;
      if (envelope.topic() != "/tasks/exit" || !exit.ParseFromString(envelope.event().value())) {
        continue;
      }
      exits_.push_back({life, envelope.event().value(), exit.container_id(), exit.id(), exit.pid(),
                        exit.exit_status(), std::chrono::steady_clock::now()});
    }
    (void)reader->Finish();
    const std::lock_guard lock(mutex_);
    reading_ = nullptr;
    deaths_[life] = std::chrono::steady_clock::now();
  }
}

void Events::synchronize() {
  static std::atomic<int> last = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (std::chrono::steady_clock::now() < end) {
    const int number = ++last;
    containerd::services::events::v1::PublishRequest request;
    request.set_topic(kProbe);
    request.mutable_event()->set_type_url("crash.Probe");
    request.mutable_event()->set_value(std::to_string(number));
    (void)daemon_.client().call<google::protobuf::Empty>(
        "containerd.services.events.v1.Events/Publish", request, milliseconds(1000));
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, milliseconds(50), [&] { return probe_ >= number; })) return;
  }
  throw std::runtime_error("no events arrive from berthd");
}

size_t Events::count() const {
  const std::lock_guard lock(mutex_);
  return exits_.size();
}

std::vector<SeenExit> Events::exits(size_t since, size_t* repeated) const {
  const std::lock_guard lock(mutex_);
  std::vector<SeenExit> found;
  for (size_t i = since; i < exits_.size(); ++i) {
    const bool again = std::any_of(found.begin(), found.end(), [&](const SeenExit& before) {
      const auto death = deaths_.find(before.life);
      return before.life != exits_[i].life && before.event == exits_[i].event &&
             death != deaths_.end() && death->second - before.at < kAnswered;
    });
    if (!again) {
      found.push_back(exits_[i]);
    } else if (repeated != nullptr) {
      ++*repeated;
    }
  }
  return found;
}

}  // namespace berth::crash
