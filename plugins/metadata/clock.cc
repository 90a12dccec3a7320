#include "clock.h"

#include <google/protobuf/util/time_util.h>

#include <string>

namespace berth::metadata {

std::optional<int64_t> parse_rfc3339(std::string_view text) {
  google::protobuf::Timestamp time;
  if (!google::protobuf::util::TimeUtil::FromString(std::string(text), &time)) return std::nullopt;
  constexpr int64_t kLimit = INT64_MAX / kNanosPerSecond;
  if (time.seconds() >= kLimit || time.seconds() <= -kLimit) return std::nullopt;
  return get_time(time);
}

}  // namespace berth::metadata
