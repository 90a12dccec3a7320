#include "labels.h"

#include <map>
#include <nlohmann/json.hpp>

namespace berth::metadata {
namespace {

constexpr size_t kMaxLabel = 4096;    // bytes of key and value, as containerd's clients expect
constexpr size_t kKeyInMessage = 64;  // bytes of a key that an error shows

}  // namespace

std::string encode_labels(const Labels& labels) {
  if (labels.empty()) return "{}";
  std::map<std::string, std::string> sorted;
  for (const auto& [key, value] : labels) {
    if (!value.empty()) sorted.emplace(key, value);
  }
  // Strings of proto3 messages are UTF-8, so nothing is ever replaced.
  return nlohmann::json(sorted).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Status decode_labels(std::string_view json, Labels* out) {
  out->clear();
  if (json == "{}") return {};
  const nlohmann::json object = nlohmann::json::parse(json, nullptr, false);
  if (!object.is_object()) return data_loss("labels in the database are not a JSON object");
  for (const auto& [key, value] : object.items()) {
    if (!value.is_string()) return data_loss("label \"" + key + "\" in the database is not a text");
    (*out)[key] = value.get_ref<const std::string&>();
  }
  return {};
}

Status validate_labels(const Labels& labels, std::string_view object) {
  for (const auto& [key, value] : labels) {
    const size_t size = key.size() + value.size();
    if (size > kMaxLabel) {
      return invalid_argument(
          std::string(object) + ": label key and value length (" + std::to_string(size) +
          " bytes) greater than maximum size (" + std::to_string(kMaxLabel) +
          " bytes), key: " + key.substr(0, kKeyInMessage) + ": invalid argument");
    }
  }
  return {};
}

void copy_label(const Labels& from, std::string_view key, Labels* into) {
  const std::string name(key);
  const auto found = from.find(name);
  if (found == from.end() || found->second.empty()) {
    into->erase(name);
  } else {
    (*into)[name] = found->second;
  }
}

void drop_empty(Labels* labels) {
  for (auto label = labels->begin(); label != labels->end();) {
    label = label->second.empty() ? labels->erase(label) : std::next(label);
  }
}

std::optional<std::string_view> mask_key(std::string_view path, std::string_view field) {
  if (path.size() <= field.size() || !path.starts_with(field) || path[field.size()] != '.') {
    return std::nullopt;
  }
  return path.substr(field.size() + 1);
}

std::optional<std::string> label_field(const Labels& labels, std::span<const std::string> path) {
  const auto found = labels.find(joined_field_path(path));
  if (found == labels.end()) return std::nullopt;
  return found->second;
}

std::optional<std::string> text_field(const std::string& text) {
  if (text.empty()) return std::nullopt;
  return text;
}

}  // namespace berth::metadata
