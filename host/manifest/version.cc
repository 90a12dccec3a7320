#include "manifest/version.h"

#include <algorithm>
#include <charconv>

namespace berth::manifest {
namespace {

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

}  // namespace

Result<Version> Version::parse(std::string_view text) {
  Version version;
  version.text_ = text;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (true) {
    uint32_t number = 0;
    const auto [next, error] = std::from_chars(at, end, number);
    if (error != std::errc() || version.parts_.size() == 4) {
      return invalid_argument("version \"" + std::string(text) +
                              "\": must be one to four numbers separated by dots");
    }
    version.parts_.push_back(number);
    if (next == end) break;
    if (*next != '.') {
      return invalid_argument("version \"" + std::string(text) +
                              "\": must be one to four numbers separated by dots");
    }
    at = next + 1;
  }
  return version;
}

int Version::compare(const Version& other) const {
  for (size_t i = 0; i < std::max(parts_.size(), other.parts_.size()); ++i) {
    const uint32_t mine = i < parts_.size() ? parts_[i] : 0;
    const uint32_t theirs = i < other.parts_.size() ? other.parts_[i] : 0;
    if (mine != theirs) return mine < theirs ? -1 : 1;
  }
  return 0;
}

Result<VersionRange> VersionRange::parse(std::string_view text) {
  VersionRange range;
  range.text_ = text;
  std::string_view rest = trimmed(text);
  while (!rest.empty()) {
    const size_t comma = std::min(rest.find(','), rest.size());
    const std::string_view condition = trimmed(rest.substr(0, comma));
    const size_t op_size = std::min(condition.find_first_not_of("<>="), condition.size());
    const std::string op(condition.substr(0, op_size));
    if (op != ">=" && op != ">" && op != "<=" && op != "<" && op != "=") {
      return invalid_argument("version range \"" + std::string(text) + "\": \"" +
                              std::string(condition) + "\" does not begin with >=, >, <=, < or =");
    }
    BERTH_ASSIGN_OR_RETURN(Version version, Version::parse(trimmed(condition.substr(op_size))));
    range.conditions_.push_back({op, std::move(version)});
    if (comma == rest.size()) break;
    rest = trimmed(rest.substr(comma + 1));
    if (rest.empty()) {
      return invalid_argument("version range \"" + std::string(text) + "\": ends with a comma");
    }
  }
  return range;
}

bool VersionRange::contains(const Version& version) const {
  return std::all_of(conditions_.begin(), conditions_.end(), [&](const Condition& condition) {
    const int order = version.compare(condition.version);
    if (condition.op == ">=") return order >= 0;
    if (condition.op == ">") return order > 0;
    if (condition.op == "<=") return order <= 0;
    if (condition.op == "<") return order < 0;
    return order == 0;
  });
}

}  // namespace berth::manifest
