// Durations as containerd's configuration writes them.
#pragma once

#include <berth/status.h>

#include <chrono>
#include <string_view>

namespace berth::gc {

/// "100ms", "1.5s", "2h45m", "0", with a sign if need be: Go's durations. INVALID_ARGUMENT for
/// anything else, and beyond about 290 years.
Result<std::chrono::nanoseconds> parse_duration(std::string_view text);

}  // namespace berth::gc
