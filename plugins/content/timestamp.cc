#include "timestamp.h"

#include <cstdio>

namespace berth::content {
namespace {

// `count` decimal digits at the front of `text`, taken off it.
std::optional<int> take_digits(std::string_view* text, size_t count) {
  if (text->size() < count) return std::nullopt;
  int number = 0;
  for (size_t i = 0; i < count; ++i) {
    const char c = (*text)[i];
    if (c < '0' || c > '9') return std::nullopt;
    number = number * 10 + (c - '0');
  }
  text->remove_prefix(count);
  return number;
}

bool take(std::string_view* text, char c) {
  if (!text->starts_with(c)) return false;
  text->remove_prefix(1);
  return true;
}

// Nanoseconds of ".123"; any number of digits, those beyond the ninth are dropped.
std::optional<int> take_fraction(std::string_view* text) {
  if (!take(text, '.')) return 0;
  int nanoseconds = 0;
  int scale = 100'000'000;
  bool any = false;
  while (!text->empty() && text->front() >= '0' && text->front() <= '9') {
    nanoseconds += (text->front() - '0') * scale;
    scale /= 10;
    any = true;
    text->remove_prefix(1);
  }
  if (!any) return std::nullopt;
  return nanoseconds;
}

// Seconds east of UTC of "Z" or "+01:30", which must be all of `text`.
std::optional<int> offset_of(std::string_view text) {
  if (text == "Z" || text == "z") return 0;
  if (text.empty() || (text.front() != '+' && text.front() != '-')) return std::nullopt;
  const int sign = text.front() == '-' ? -1 : 1;
  text.remove_prefix(1);
  const auto hours = take_digits(&text, 2);
  if (!hours || !take(&text, ':')) return std::nullopt;
  const auto minutes = take_digits(&text, 2);
  if (!minutes || !text.empty() || *hours > 23 || *minutes > 59) return std::nullopt;
  return sign * (*hours * 3600 + *minutes * 60);
}

}  // namespace

timespec wall_clock() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return now;
}

std::string format_timestamp(const timespec& time) {
  tm parts{};
  ::gmtime_r(&time.tv_sec, &parts);
  char buffer[80];
  std::snprintf(buffer, sizeof buffer, "%04d-%02d-%02dT%02d:%02d:%02d.%09ld", parts.tm_year + 1900,
                parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                time.tv_nsec);
  std::string text = buffer;
  text.erase(text.find_last_not_of('0') + 1);
  if (text.ends_with('.')) text.pop_back();
  return text + "Z";
}

std::optional<timespec> parse_timestamp(std::string_view text) {
  tm parts{};
  const auto field = [&](size_t digits, char after, int least, int most, int* out) {
    const auto number = take_digits(&text, digits);
    if (!number || *number < least || *number > most) return false;
    *out = *number;
    return after == 0 || take(&text, after);
  };
  const bool well_formed =
      field(4, '-', 0, 9999, &parts.tm_year) && field(2, '-', 1, 12, &parts.tm_mon) &&
      field(2, 'T', 1, 31, &parts.tm_mday) && field(2, ':', 0, 23, &parts.tm_hour) &&
      field(2, ':', 0, 59, &parts.tm_min) && field(2, 0, 0, 60, &parts.tm_sec);
  if (!well_formed) return std::nullopt;
  const auto nanoseconds = take_fraction(&text);
  if (!nanoseconds) return std::nullopt;
  const auto offset = offset_of(text);
  if (!offset) return std::nullopt;
  parts.tm_year -= 1900;
  parts.tm_mon -= 1;
  return timespec{::timegm(&parts) - *offset, *nanoseconds};
}

bool earlier(const timespec& a, const timespec& b) {
  return a.tv_sec != b.tv_sec ? a.tv_sec < b.tv_sec : a.tv_nsec < b.tv_nsec;
}

}  // namespace berth::content
