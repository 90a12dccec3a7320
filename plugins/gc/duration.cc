#include "duration.h"

#include <cmath>

namespace berth::gc {
namespace {

struct Unit {
  std::string_view name;
  double nanoseconds;
};
// Those with two letters first, so that "ms" is not taken for "m".
constexpr Unit kUnits[] = {{"ns", 1},   {"us", 1e3}, {"µs", 1e3}, {"μs", 1e3},
                           {"ms", 1e6}, {"s", 1e9},  {"m", 60e9}, {"h", 3600e9}};

// A decimal number at the front of `text`, taken off it.
bool take_number(std::string_view* text, double* out) {
  double number = 0;
  double scale = 1;
  bool digits = false;
  bool fraction = false;
  while (!text->empty()) {
    const char c = text->front();
    if (c == '.' && !fraction) {
      fraction = true;
    } else if (c >= '0' && c <= '9') {
      digits = true;
      number = number * 10 + (c - '0');
      if (fraction) scale *= 10;
    } else {
      break;
    }
    text->remove_prefix(1);
  }
  *out = number / scale;
  return digits;
}

bool take_unit(std::string_view* text, double* nanoseconds) {
  for (const Unit& unit : kUnits) {
    if (!text->starts_with(unit.name)) continue;
    text->remove_prefix(unit.name.size());
    *nanoseconds = unit.nanoseconds;
    return true;
  }
  return false;
}

}  // namespace

Result<std::chrono::nanoseconds> parse_duration(std::string_view text) {
  const auto malformed = [&] {
    return invalid_argument("\"" + std::string(text.substr(0, 64)) +
                            "\" is no duration, such as 100ms or 1m30s");
  };
  std::string_view rest = text;
  const bool negative = rest.starts_with('-');
  if (negative || rest.starts_with('+')) rest.remove_prefix(1);
  if (rest == "0") return std::chrono::nanoseconds(0);
  if (rest.empty()) return malformed();
  double sum = 0;
  while (!rest.empty()) {
    double number = 0;
    double unit = 0;
    if (!take_number(&rest, &number) || !take_unit(&rest, &unit)) return malformed();
    sum += number * unit;
  }
  if (!(sum < 9.2e18)) return malformed();
  return std::chrono::nanoseconds(std::llround(negative ? -sum : sum));
}

}  // namespace berth::gc
