#include "plugin_names.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <utility>

#include "plugin_graph.h"

namespace berth::ctl {
namespace {

constexpr size_t kOffered = 5;

std::string lower(std::string text) {
  for (char& letter : text) {
    letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  }
  return text;
}

std::string last_part(const std::string& name) { return name.substr(name.rfind('.') + 1); }

/// How many letters to insert, drop or replace to get from one to the other.
size_t distance(const std::string& from, const std::string& to) {
  std::vector<size_t> row(to.size() + 1);
  for (size_t i = 0; i < row.size(); ++i) row[i] = i;
  for (size_t i = 1; i <= from.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= to.size(); ++j) {
      const size_t replaced = diagonal + (from[i - 1] == to[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, replaced}));
    }
  }
  return row.back();
}

}  // namespace

std::vector<std::string> ending_with(const host::v1::ListResponse& list, const std::string& name) {
  if (name.empty()) return {};
  const std::string end = "." + name;
  std::set<std::string> plugins, services;
  for (const host::v1::Plugin& plugin : list.plugins()) {
    bool named = uri_of(plugin).ends_with(end);
    for (const std::string& alias : plugin.aliases()) {
      named = named || (plugin.type() + "." + alias).ends_with(end);
    }
    if (named) plugins.insert(uri_of(plugin));
    for (const std::string& service : plugin.services()) {
      if (service.ends_with(end)) services.insert(service);
    }
  }
  const std::set<std::string>& found = plugins.empty() ? services : plugins;
  return {found.begin(), found.end()};
}

std::vector<std::string> near_to(const host::v1::ListResponse& list, const std::string& name) {
  const std::string wanted = lower(name), wanted_end = last_part(wanted);
  std::set<std::pair<size_t, std::string>> found;
  if (wanted_end.empty()) return {};
  const auto consider = [&](const std::string& full) {
    const std::string known = lower(full), known_end = last_part(known);
    const size_t differs = distance(wanted_end, known_end);
    const bool contains =
        known.find(wanted) != std::string::npos || known_end.find(wanted_end) != std::string::npos;
    if (contains || differs <= wanted_end.size() / 3) found.emplace(differs, full);
  };
  for (const host::v1::Plugin& plugin : list.plugins()) {
    consider(uri_of(plugin));
    for (const std::string& service : plugin.services()) consider(service);
  }
  std::vector<std::string> names;
  for (const auto& [differs, full] : found) {
    if (names.size() < kOffered) names.push_back(full);
  }
  return names;
}

}  // namespace berth::ctl
