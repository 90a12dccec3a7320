// For suites that look at what others wrote: an answer that a case cannot go on without.
#pragma once

#include <berth/status.h>

#include <stdexcept>
#include <utility>

namespace berth::testing {

/// The value. Where there is none, the case ends as failed, with the status as its reason: it
/// throws, which GoogleTest tells so. Only on the thread of the case.
template <typename T>
T must(Result<T> result) {
  if (!result.ok()) throw std::runtime_error(result.status().to_string());
  return std::move(result).value();
}

}  // namespace berth::testing
