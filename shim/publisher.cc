#include "publisher.h"

#include <berth/fault.h>
#include <time.h>

#include <algorithm>
#include <chrono>

#include "containerd/services/ttrpc/events/v1/events.pb.h"
#include "log.h"

namespace berth::shim {
namespace {

constexpr size_t kMaxQueued = 2048;
constexpr int64_t kMillisecond = 1'000'000;
constexpr int64_t kCallTimeout = 5'000 * kMillisecond;
constexpr int64_t kFirstPause = 50 * kMillisecond;
constexpr int64_t kLongestPause = 2'000 * kMillisecond;

}  // namespace

void Publisher::publish(std::string_view topic, std::string_view type, const std::string& value,
                        std::function<void()> taken) {
  containerd::services::events::ttrpc::v1::ForwardRequest request;
  auto& envelope = *request.mutable_envelope();
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  envelope.mutable_timestamp()->set_seconds(now.tv_sec);
  envelope.mutable_timestamp()->set_nanos(static_cast<int32_t>(now.tv_nsec));
  envelope.set_namespace_(ns_);
  envelope.set_topic(std::string(topic));
  envelope.mutable_event()->set_type_url(std::string(type));
  envelope.mutable_event()->set_value(value);
  const std::lock_guard lock(mutex_);
  if (queue_.size() >= kMaxQueued) {
    // The first may be under way; what is lost is the oldest that is not.
    queue_.erase(queue_.begin() + 1);
    log(Level::kWarning, "an event is lost: the daemon has taken none for long");
  }
  queue_.push_back({request.SerializeAsString(), std::move(taken)});
  if (!std::exchange(sending_, true)) {
    loop_->post([self = shared_from_this()] { self->send_next(); });
  }
}

void Publisher::send_next() {
  retry_ = 0;
  std::string payload;
  {
    const std::lock_guard lock(mutex_);
    if (queue_.empty()) {
      sending_ = false;
      delivered_.notify_all();
      return;
    }
    payload = queue_.front().request;
  }
  if (client_ == nullptr || client_->closed()) {
    auto connected = ttrpc::Client::connect(loop_, address_, 0);
    if (!connected.ok()) return answered(connected.status());
    client_ = *std::move(connected);
  }
  ttrpc::CallOptions options;
  options.deadline_ns = ttrpc::monotonic_ns() + kCallTimeout;
  options.metadata.emplace_back(ttrpc::kNamespaceKey, ns_);
  client_->call_async("containerd.services.events.ttrpc.v1.Events", "Forward", payload, options,
                      [self = shared_from_this()](const Status& status, const std::string&) {
                        self->answered(status);
                      });
}

void Publisher::answered(const Status& status) {
  int failures = 0;
  {
    const std::lock_guard lock(mutex_);
    // A daemon that refuses an event will refuse it again; one that is away will be back.
    const bool refused = client_ != nullptr && !client_->closed() &&
                         status.code() != Code::kUnavailable &&
                         status.code() != Code::kDeadlineExceeded;
    if (status.ok() || refused) {
      BERTH_FAULT_POINT("shim.publish.taken");
      if (queue_.front().taken) queue_.front().taken();
      queue_.pop_front();
      failures_ = 0;
    } else {
      failures = ++failures_;
    }
  }
  if (failures == 0) {
    if (!status.ok()) log(Level::kError, "publish an event: " + status.message());
    // Not at once: call_async may call back on this very stack.
    loop_->post([self = shared_from_this()] { self->send_next(); });
    return;
  }
  if (failures == 1)
    log(Level::kWarning, "publish an event, to be tried again: " + status.message());
  client_ = nullptr;
  const int64_t pause = std::min(kFirstPause << std::min(failures - 1, 10), kLongestPause);
  retry_ =
      loop_->at(ttrpc::monotonic_ns() + pause, [self = shared_from_this()] { self->send_next(); });
}

void Publisher::retry_now() {
  if (retry_ == 0 || !loop_->cancel(retry_)) return;
  retry_ = 0;
  {
    const std::lock_guard lock(mutex_);
    failures_ = 1;  // the pauses begin anew
  }
  send_next();
}

bool Publisher::flush(int seconds) {
  std::unique_lock lock(mutex_);
  return delivered_.wait_for(lock, std::chrono::seconds(seconds), [this] { return !sending_; });
}

}  // namespace berth::shim
