// systemd's readiness protocol: datagrams to the socket that NOTIFY_SOCKET names (sd_notify(3)).
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

namespace berth::ops {

/// Sends "READY=1", "STOPPING=1", "WATCHDOG=1", …; nothing happens when not run by systemd. Any
/// thread.
void sd_notify(std::string_view state);

/// Half of the watchdog interval that systemd asked of this process, or nothing.
std::optional<std::chrono::microseconds> watchdog_interval();

}  // namespace berth::ops
