#include "topic.h"

#include <algorithm>

namespace berth::events {
namespace {

constexpr size_t kLongestIdentifier = 76;

bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}
bool is_joint(char c) { return c == '.' || c == '-' || c == '_'; }

std::string shown(std::string_view text) {
  constexpr size_t kShown = 120;
  return "\"" + std::string(text.substr(0, kShown)) + (text.size() > kShown ? "…" : "") + "\"";
}

bool well_formed(std::string_view text) {
  if (!is_alphanumeric(text.front()) || !is_alphanumeric(text.back())) return false;
  for (size_t i = 1; i < text.size(); ++i) {
    const bool fits =
        is_alphanumeric(text[i]) || (is_joint(text[i]) && is_alphanumeric(text[i - 1]));
    if (!fits) return false;
  }
  return true;
}

}  // namespace

Status validate_identifier(std::string_view text) {
  if (text.empty()) return invalid_argument("identifier must not be empty");
  if (text.size() > kLongestIdentifier) {
    return invalid_argument("identifier " + shown(text) + " is longer than " +
                            std::to_string(kLongestIdentifier) + " characters");
  }
  if (!well_formed(text)) {
    return invalid_argument(
        "identifier " + shown(text) +
        " must be letters and digits, joined by single dots, dashes or underscores");
  }
  return {};
}

Status validate_topic(std::string_view topic) {
  const std::string what = "envelope topic " + shown(topic);
  if (topic.empty()) return invalid_argument(what + ": must not be empty");
  if (topic.front() != '/') return invalid_argument(what + ": must start with '/'");
  if (topic.size() == 1) return invalid_argument(what + ": must have at least one component");
  std::string_view rest = topic.substr(1);
  while (true) {
    const size_t slash = std::min(rest.find('/'), rest.size());
    BERTH_RETURN_IF_ERROR(validate_identifier(rest.substr(0, slash)).with_context(what));
    if (slash == rest.size()) return {};
    rest.remove_prefix(slash + 1);
  }
}

}  // namespace berth::events
