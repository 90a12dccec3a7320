#include "bus/inline_callbacks.h"

#include <deque>

#include "bus/workers.h"

namespace berth::bus {

void run_inline(std::function<void()> callback) {
  thread_local std::deque<std::function<void()>>* pending = nullptr;
  if (pending != nullptr) {
    pending->push_back(std::move(callback));
    return;
  }
  std::deque<std::function<void()>> queue;
  pending = &queue;
  {
    const EventScope scope;
    callback();
    while (!queue.empty()) {
      const std::function<void()> next = std::move(queue.front());
      queue.pop_front();
      next();
    }
  }
  pending = nullptr;
}

}  // namespace berth::bus
