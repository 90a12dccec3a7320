#include "in_flight.h"

namespace berth::metadata {

void InFlight::Hold::release() {
  InFlight* owner = std::exchange(owner_, nullptr);
  if (owner == nullptr) return;
  {
    std::lock_guard lock(owner->mutex_);
    const auto found = owner->holds_.find(name_);
    if (found->second == kReserved || --found->second == 0) owner->holds_.erase(found);
  }
  owner->released_.notify_all();
}

template <typename Free>
Status InFlight::wait(std::unique_lock<std::mutex>& lock, const Context& context,
                      const std::string& name, const Free& free) {
  constexpr std::chrono::milliseconds kLook(50);  // how often the caller's state is looked at
  while (!free()) {
    released_.wait_for(lock, kLook);
    if (free()) break;
    if (context.cancelled()) return cancelled("wait for " + name + ": the caller is gone");
    if (monotonic_now() > context.deadline()) {
      return deadline_exceeded("wait for " + name + ": another call is still working on it");
    }
  }
  return {};
}

Result<InFlight::Hold> InFlight::use(const Context& context, const std::string& name) {
  std::unique_lock lock(mutex_);
  BERTH_RETURN_IF_ERROR(wait(lock, context, name, [&] {
    const auto found = holds_.find(name);
    return found == holds_.end() || found->second != kReserved;
  }));
  ++holds_[name];
  return Hold(this, name);
}

Result<InFlight::Hold> InFlight::reserve(const Context& context, const std::string& name) {
  std::unique_lock lock(mutex_);
  BERTH_RETURN_IF_ERROR(wait(lock, context, name, [&] { return !holds_.contains(name); }));
  holds_[name] = kReserved;
  return Hold(this, name);
}

std::optional<InFlight::Hold> InFlight::try_reserve(const std::string& name) {
  std::lock_guard lock(mutex_);
  if (holds_.contains(name)) return std::nullopt;
  holds_[name] = kReserved;
  return Hold(this, name);
}

}  // namespace berth::metadata
