// TOML values as JSON, the form in which configuration crosses to plugins.
#pragma once

#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

namespace berth::manifest {

/// Whether JSON has the value: no dates, no infinities.
inline bool is_plain(const toml::node& node) {
  if (const toml::table* table = node.as_table()) {
    return std::all_of(table->begin(), table->end(),
                       [](const auto& entry) { return is_plain(entry.second); });
  }
  if (const toml::array* array = node.as_array()) {
    return std::all_of(array->begin(), array->end(),
                       [](const toml::node& element) { return is_plain(element); });
  }
  if (const auto* number = node.as_floating_point()) return std::isfinite(number->get());
  return node.is_string() || node.is_integer() || node.is_boolean();
}

/// Dates and times become strings; everything else has its counterpart.
inline nlohmann::json to_json(const toml::node& node) {
  if (const toml::table* table = node.as_table(); table != nullptr) {
    nlohmann::json object = nlohmann::json::object();
    for (const auto& [key, value] : *table) object[std::string(key.str())] = to_json(value);
    return object;
  }
  if (const toml::array* array = node.as_array(); array != nullptr) {
    nlohmann::json list = nlohmann::json::array();
    for (const toml::node& element : *array) list.push_back(to_json(element));
    return list;
  }
  if (const auto* value = node.as_string()) return value->get();
  if (const auto* value = node.as_integer()) return value->get();
  if (const auto* value = node.as_floating_point()) return value->get();
  if (const auto* value = node.as_boolean()) return value->get();
  std::ostringstream text;
  node.visit([&](const auto& value) {
    if constexpr (toml::is_chronological<decltype(value)>) text << value.get();
  });
  return text.str();
}

}  // namespace berth::manifest
