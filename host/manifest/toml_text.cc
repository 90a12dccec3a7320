#include "manifest/toml_text.h"

#include <algorithm>
#include <cstdint>

namespace berth::manifest {
namespace {

/// Follows brackets and dotted keys without building anything. Where the text is not TOML it may be
/// wrong, but only beyond the place at which the parser gives up.
class DepthScan {
 public:
  explicit DepthScan(std::string_view text) : text_(text) {}

  /// The line that is too deep, or 0.
  size_t too_deep() {
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      switch (c) {
        case '\n':
          ++line_;
          dots_ = 0;
          break;
        case '#':
          at_ = std::min(text_.find('\n', at_), text_.size());
          break;
        case '"':
        case '\'':
          skip_string(c);
          break;
        case '[':
        case '{':
          dots_ = 0;
          if (++depth_ > kMaxTomlDepth) return line_;
          break;
        case ']':
        case '}':
          dots_ = 0;
          if (depth_ > 0) --depth_;
          break;
        case '=':
        case ',':
          dots_ = 0;
          break;
        case '.':
          if (++dots_ > kMaxTomlDepth) return line_;
          break;
        default:
          break;
      }
    }
    return 0;
  }

 private:
  void skip_string(char quote) {
    const bool multi_line = text_.substr(at_, 2) == std::string(2, quote);
    if (multi_line) at_ += 2;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '\n') {
        ++line_;
        if (!multi_line) return;  // not TOML
      } else if (c == '\\' && quote == '"') {
        if (at_ < text_.size() && text_[at_] != '\n') ++at_;
      } else if (c == quote && !multi_line) {
        return;
      } else if (c == quote && text_.substr(at_, 2) == std::string(2, quote)) {
        at_ += 2;
        for (int i = 0; i < 2 && at_ < text_.size() && text_[at_] == quote; ++i) ++at_;
        return;
      }
    }
  }

  std::string_view text_;
  size_t at_ = 0;
  size_t line_ = 1;
  size_t depth_ = 0;
  size_t dots_ = 0;
};

struct Unit {
  std::string_view name;
  int64_t nanoseconds;
};

// Longer names first, where one begins with another. Both spellings of micro that Go takes.
constexpr Unit kUnits[] = {
    {"ns", 1},         {"us", 1'000},        {"\u00b5s", 1'000},    {"\u03bcs", 1'000},
    {"ms", 1'000'000}, {"s", 1'000'000'000}, {"m", 60'000'000'000}, {"h", 3'600'000'000'000}};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

Result<toml::table> parse_toml(std::string_view text, const std::string& file, size_t limit) {
  if (text.size() > limit) {
    return invalid_argument(file + ": it has " + std::to_string(text.size()) +
                            " bytes, the limit is " + std::to_string(limit));
  }
  if (const size_t line = DepthScan(text).too_deep(); line != 0) {
    return invalid_argument(file + ":" + std::to_string(line) + ": nested more than " +
                            std::to_string(kMaxTomlDepth) + " deep");
  }
  try {
    return toml::parse(text, file);
  } catch (const toml::parse_error& error) {
    return invalid_argument(file + ":" + std::to_string(error.source().begin.line) + ": " +
                            std::string(error.description()) + " (column " +
                            std::to_string(error.source().begin.column) + ")");
  }
}

std::optional<std::chrono::nanoseconds> parse_duration(std::string_view text) {
  bool negative = false;
  if (!text.empty() && (text.front() == '-' || text.front() == '+')) {
    negative = text.front() == '-';
    text.remove_prefix(1);
  }
  if (text == "0") return std::chrono::nanoseconds(0);
  if (text.empty()) return std::nullopt;
  // Wide enough for the largest number that is let in below, times an hour.
  __extension__ using Wide = __int128;
  constexpr Wide kMost = INT64_MAX;
  Wide total = 0;
  while (!text.empty()) {
    Wide number = 0, scale = 1;
    bool digits = false, fraction = false;
    while (!text.empty() && (is_digit(text.front()) || (text.front() == '.' && !fraction))) {
      if (text.front() == '.') {
        fraction = true;
      } else {
        digits = true;
        // Digits of a fraction beyond nanoseconds of an hour change nothing.
        if (!fraction || scale < 10'000'000'000'000) {
          number = number * 10 + (text.front() - '0');
          if (fraction) scale *= 10;
        }
        if (number / scale > kMost) return std::nullopt;
      }
      text.remove_prefix(1);
    }
    if (!digits) return std::nullopt;
    const auto* unit = std::find_if(std::begin(kUnits), std::end(kUnits), [&](const Unit& one) {
      return text.starts_with(one.name) &&
             (text.size() == one.name.size() || is_digit(text[one.name.size()]) ||
              text[one.name.size()] == '.');
    });
    if (unit == std::end(kUnits)) return std::nullopt;
    text.remove_prefix(unit->name.size());
    total += number * unit->nanoseconds / scale;
    if (total > kMost) return std::nullopt;
  }
  const auto value = static_cast<int64_t>(total);
  return std::chrono::nanoseconds(negative ? -value : value);
}

}  // namespace berth::manifest
