// Points in time as containerd's content store writes them into files: RFC 3339 with up to nine
// decimals.
#pragma once

#include <time.h>

#include <optional>
#include <string>
#include <string_view>

namespace berth::content {

/// Now, CLOCK_REALTIME.
timespec wall_clock();
/// "2026-11-24T21:40:05.123456789Z"; trailing zeros of the fraction are left out, as Go does.
std::string format_timestamp(const timespec& time);
/// Reads any RFC 3339 time, with a zone offset too. Nothing when it is none.
std::optional<timespec> parse_timestamp(std::string_view text);
bool earlier(const timespec& a, const timespec& b);

}  // namespace berth::content
