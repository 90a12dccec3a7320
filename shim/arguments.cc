#include "arguments.h"

namespace berth::shim {
namespace {

std::string* text_flag(std::string_view name, Arguments* out) {
  if (name == "namespace") return &out->ns;
  if (name == "id") return &out->id;
  if (name == "address") return &out->address;
  if (name == "publish-binary") return &out->publish_binary;
  if (name == "bundle") return &out->bundle;
  if (name == "socket") return &out->socket;
  return nullptr;
}

bool* switch_flag(std::string_view name, Arguments* out) {
  if (name == "debug") return &out->debug;
  if (name == "v" || name == "version") return &out->version;
  if (name == "info") return &out->info;
  return nullptr;
}

}  // namespace

Result<Arguments> parse_arguments(std::span<char* const> words) {
  Arguments out;
  for (size_t i = 0; i < words.size(); ++i) {
    std::string_view word(words[i]);
    if (!word.starts_with("-") || word == "-") {
      out.action = word;
      break;
    }
    word.remove_prefix(word.starts_with("--") ? 2 : 1);
    const size_t equals = word.find('=');
    const std::string_view name = word.substr(0, equals);
    const bool has_value = equals != std::string_view::npos;
    if (bool* const flag = switch_flag(name, &out); flag != nullptr) {
      const std::string_view value = has_value ? word.substr(equals + 1) : "true";
      *flag = value == "true" || value == "1";
      continue;
    }
    std::string* const flag = text_flag(name, &out);
    if (flag == nullptr) {
      return invalid_argument("flag provided but not defined: -" + std::string(name));
    }
    if (has_value) {
      *flag = word.substr(equals + 1);
    } else if (i + 1 < words.size()) {
      *flag = words[++i];
    } else {
      return invalid_argument("flag needs an argument: -" + std::string(name));
    }
  }
  return out;
}

}  // namespace berth::shim
