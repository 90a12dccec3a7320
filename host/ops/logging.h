// The daemon's log: one line per event on stderr, as text or as JSON.
#pragma once

#include <berth/abi.h>
#include <berth/status.h>

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace berth::ops {

using Fields = std::vector<std::pair<std::string_view, std::string_view>>;

/// level: trace, debug, info, warn, error (also warning, fatal, panic, as containerd's users write
/// them); format: text or json. INVALID_ARGUMENT names what is wrong. Call again to change either.
/// Any thread.
Status configure_log(std::string_view level, std::string_view format);

/// Writes one line with fields after it. `level` is a BERTH_LOG_* value. Any thread.
void log(uint32_t level, std::string_view text, const Fields& fields);

/// Writes a line of another process: `text` as that process's logger had it, `level` as spdlog
/// numbers it. Lines that name no plugin get `plugin`. Any thread.
void log_line(uint32_t level, std::string_view text, std::string_view plugin);
/// From now on every line goes to `take` (level, text) instead of stderr. After configure_log().
void send_log_to(std::function<void(uint32_t, std::string_view)> take);

}  // namespace berth::ops
