// [plugins."TYPE.ID"]: a plugin's section against its manifest.
#include <algorithm>

#include "config/document.h"
#include "manifest/toml_json.h"

namespace berth::config {
namespace {

/// "150ms", "1.5s", "2h45m", "0": Go's durations, as containerd's users write them.
bool is_duration(std::string_view text) {
  if (text == "0" || text.empty()) return true;
  if (text.front() == '-' || text.front() == '+') text.remove_prefix(1);
  while (!text.empty()) {
    const size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
    if (digits == 0) return false;
    text.remove_prefix(digits);
    const size_t unit_size = std::min(text.find_first_of("0123456789."), text.size());
    const std::string_view unit = text.substr(0, unit_size);
    if (unit != "ns" && unit != "us" && unit != "µs" && unit != "ms" && unit != "s" &&
        unit != "m" && unit != "h") {
      return false;
    }
    text.remove_prefix(unit_size);
  }
  return true;
}

bool is_requirement(const manifest::Plugin& plugin, std::string_view key) {
  return std::any_of(plugin.requires_.begin(), plugin.requires_.end(),
                     [&](const manifest::Requirement& need) { return need.name == key; });
}

}  // namespace

const toml::table* section_of(const toml::table& root, const manifest::Plugin& plugin) {
  const toml::table* sections = root.get_as<toml::table>("plugins");
  if (sections == nullptr) return nullptr;
  if (const auto* own = sections->get_as<toml::table>(plugin.uri()); own != nullptr) return own;
  for (const std::string& alias : plugin.aliases) {
    if (const auto* other = sections->get_as<toml::table>(plugin.type + "." + alias);
        other != nullptr)
      return other;
  }
  return nullptr;
}

std::string Config::plugin_json(const manifest::Plugin& plugin,
                                std::vector<Diagnostic>* diagnostics) const {
  nlohmann::json effective = nlohmann::json::object();
  for (const manifest::ConfigKey& key : plugin.config) {
    effective[key.key] = nlohmann::json::parse(key.default_json, nullptr, false);
  }
  const toml::table* section = section_of(document_->root, plugin);
  if (section == nullptr) return effective.dump();
  const std::string where = " in [plugins.\"" + plugin.uri() + "\"]";
  for (const auto& [key, node] : *section) {
    const std::string name(key.str());
    if (name == "placement") {
      if (!node.is_string() || node.as_string()->get() != "host") {
        diagnostics->push_back(diagnostic_at(
            node, "placement" + where + " must be \"host\": no other is offered yet"));
      }
      continue;
    }
    const auto known =
        std::find_if(plugin.config.begin(), plugin.config.end(),
                     [&](const manifest::ConfigKey& one) { return one.key == name; });
    if (known == plugin.config.end()) {
      if (!is_requirement(plugin, name)) {
        diagnostics->push_back(diagnostic_at(node, "unknown key \"" + name + "\"" + where));
      }
    } else if (!has_type(node, known->type)) {
      diagnostics->push_back(
          diagnostic_at(node, "key \"" + name + "\"" + where + " must be a " + known->type));
    } else if (known->type == "duration" && !is_duration(node.as_string()->get())) {
      diagnostics->push_back(
          diagnostic_at(node, "key \"" + name + "\"" + where + ": \"" + node.as_string()->get() +
                                  "\" is not a duration such as \"150ms\" or \"2h45m\""));
    } else {
      effective[name] = manifest::to_json(node);
    }
  }
  return effective.dump();
}

std::vector<Diagnostic> Config::unknown_sections(
    const std::vector<manifest::Plugin>& plugins) const {
  std::vector<Diagnostic> unknown;
  const toml::table* sections = document_->root.get_as<toml::table>("plugins");
  if (sections == nullptr) return unknown;
  for (const auto& [key, node] : *sections) {
    const bool known =
        std::any_of(plugins.begin(), plugins.end(), [&](const manifest::Plugin& plugin) {
          return key.str() == plugin.uri() ||
                 std::any_of(plugin.aliases.begin(), plugin.aliases.end(),
                             [&](const std::string& alias) {
                               return key.str() == plugin.type + "." + alias;
                             });
        });
    if (!known) {
      unknown.push_back(diagnostic_at(node, "section [plugins.\"" + std::string(key.str()) +
                                                "\"] belongs to no installed plugin"));
    }
  }
  return unknown;
}

std::string Config::choice(const manifest::Plugin& plugin, const std::string& requirement) const {
  const toml::table* section = section_of(document_->root, plugin);
  if (section == nullptr) return {};
  const auto* value = section->get_as<std::string>(requirement);
  return value == nullptr ? std::string() : value->get();
}

}  // namespace berth::config
