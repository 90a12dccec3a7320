#include "bus/target.h"

#include <berth/context.h>

#include <chrono>

#include "bus/call.h"

namespace berth::bus {

void Target::add_service(const berth_service& service) {
  const auto service_index = static_cast<uint32_t>(services_.size());
  services_.push_back(&service);
  for (uint32_t i = 0; i < service.method_count; ++i) {
    auto method = std::make_unique<Method>();
    method->service = view(service.name);
    method->name = view(service.methods[i].name);
    method->flags = service.methods[i].flags;
    method->service_index = service_index;
    method->method_index = i;
    by_name_.emplace(method->full_name(), static_cast<uint32_t>(methods_.size()));
    methods_.push_back(std::move(method));
  }
}

void Target::serve(void (*handler)(void*, uint32_t, uint32_t, berth_call*), void* instance) {
  handle_ = handler;
  instance_ = instance;
}

void Target::ready() { ready_.store(true, std::memory_order_release); }

void Target::refuse(std::string reason) {
  const std::lock_guard lock(mutex_);
  reason_ = std::move(reason);
  ready_.store(false, std::memory_order_release);
}

Status Target::availability() const {
  if (is_ready()) return {};
  const std::lock_guard lock(mutex_);
  return unavailable("plugin " + identity_.uri + " takes no calls: " + reason_);
}

uint32_t Target::resolve(std::string_view full_name) const {
  const auto found = by_name_.find(std::string(full_name));
  return found == by_name_.end() ? BERTH_NO_METHOD : found->second;
}

const Method* Target::method(uint32_t index) const {
  return index < methods_.size() ? methods_[index].get() : nullptr;
}

void Target::handle(const Method& method, berth_call* call) const {
  handle_(instance_, method.service_index, method.method_index, call);
}

bool Target::enter(Call* call) {
  const std::lock_guard lock(mutex_);
  if (!is_ready()) return false;
  call->link_.next = first_call_;
  call->link_.previous = nullptr;
  if (first_call_ != nullptr) first_call_->link_.previous = call;
  first_call_ = call;
  ++call_count_;
  return true;
}

void Target::leave(Call* call) {
  const std::lock_guard lock(mutex_);
  if (call->link_.previous != nullptr) {
    call->link_.previous->link_.next = call->link_.next;
  } else {
    first_call_ = call->link_.next;
  }
  if (call->link_.next != nullptr) call->link_.next->link_.previous = call->link_.previous;
  if (--call_count_ == 0) idle_.notify_all();
}

void Target::cancel_all(const Status& status) {
  std::vector<CallRef> calls;
  {
    const std::lock_guard lock(mutex_);
    for (Call* call = first_call_; call != nullptr; call = call->link_.next) {
      calls.emplace_back(CallRef::share(call));
    }
  }
  for (const CallRef& call : calls) call->end(status);
}

bool Target::wait_idle(int64_t deadline) {
  std::unique_lock lock(mutex_);
  const auto timeout = std::chrono::nanoseconds(deadline - monotonic_now());
  return idle_.wait_for(lock, timeout, [&] { return call_count_ == 0; });
}

uint64_t Target::in_flight() const {
  const std::lock_guard lock(mutex_);
  return call_count_;
}

}  // namespace berth::bus
