// Times as the database has them (nanoseconds since 1970, UTC) and as messages have them.
#pragma once

#include <google/protobuf/timestamp.pb.h>
#include <time.h>

#include <optional>
#include <string_view>

namespace berth::metadata {

inline constexpr int64_t kNanosPerSecond = 1'000'000'000;

inline int64_t wall_now() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * kNanosPerSecond + now.tv_nsec;
}

inline void put_time(int64_t nanos, google::protobuf::Timestamp* out) {
  int64_t seconds = nanos / kNanosPerSecond;
  int64_t rest = nanos % kNanosPerSecond;
  if (rest < 0) {  // before 1970
    rest += kNanosPerSecond;
    --seconds;
  }
  out->set_seconds(seconds);
  out->set_nanos(static_cast<int32_t>(rest));
}

inline int64_t get_time(const google::protobuf::Timestamp& time) {
  return time.seconds() * kNanosPerSecond + time.nanos();
}

/// A time as RFC 3339 writes it ("2026-11-24T20:00:00.5+01:00"), nothing for anything else or
/// outside of what 64 bits of nanoseconds hold.
std::optional<int64_t> parse_rfc3339(std::string_view text);

}  // namespace berth::metadata
