// What a case does as a daemon would have it done.
#pragma once

#include <gtest/gtest.h>
#include <pthread.h>

namespace berth::testing {

/// Runs `work` on a thread with a stack as small as that on which berthd calls a handler, and waits
/// for its end.
template <typename Work>
void on_handler_stack(Work work) {
  pthread_attr_t attributes;
  pthread_t thread;
  ASSERT_EQ(::pthread_attr_init(&attributes), 0);
  ASSERT_EQ(::pthread_attr_setstacksize(&attributes, 1 << 20), 0);
  const auto run = [](void* work_on) -> void* {
    (*static_cast<Work*>(work_on))();
    return nullptr;
  };
  ASSERT_EQ(::pthread_create(&thread, &attributes, run, &work), 0);
  ::pthread_join(thread, nullptr);
  ::pthread_attr_destroy(&attributes);
}

}  // namespace berth::testing
