// [plugins."TYPE.ID"]: a plugin's section against its manifest.
#include <algorithm>

#include "config/document.h"
#include "manifest/toml_json.h"
#include "manifest/toml_text.h"

namespace berth::config {
namespace {

/// Also the empty string: not set.
bool is_duration(const std::string& text) { return text.empty() || manifest::parse_duration(text); }

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
  (void)placement_of(section, where, diagnostics);
  for (const auto& [key, node] : *section) {
    const std::string name(key.str());
    if (name == "placement" || name == "process") continue;
    const auto known =
        std::find_if(plugin.config.begin(), plugin.config.end(),
                     [&](const manifest::ConfigKey& one) { return one.key == name; });
    if (known == plugin.config.end()) {
      if (!is_requirement(plugin, name)) {
        diagnostics->push_back(diagnostic_at(node, "unknown key \"" + name + "\"" + where));
      } else if (!node.is_string()) {
        diagnostics->push_back(diagnostic_at(
            node,
            "key \"" + name + "\"" + where + " chooses a plugin and must be its id, a string"));
      }
    } else if (!has_type(node, known->type)) {
      diagnostics->push_back(
          diagnostic_at(node, "key \"" + name + "\"" + where + " must be a " + known->type));
    } else if (!manifest::is_plain(node)) {
      diagnostics->push_back(diagnostic_at(
          node, "key \"" + name + "\"" + where +
                    " has a date or a number that is not finite; write it as a string"));
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

namespace {

/// Sections that say something about a plugin which another section of the same plugin hides.
void add_hidden_sections(const toml::table& root, const toml::table& sections,
                         const manifest::Plugin& plugin, std::vector<Diagnostic>* out) {
  const toml::table* own = section_of(root, plugin);
  for (const std::string& alias : plugin.aliases) {
    const std::string name = plugin.type + "." + alias;
    const auto* other = sections.get_as<toml::table>(name);
    if (other == nullptr || other == own) continue;
    out->push_back(diagnostic_at(*other, "section [plugins.\"" + name + "\"] has no effect: " +
                                             plugin.uri() + " has another section; merge the two"));
  }
}

}  // namespace

std::vector<Diagnostic> Config::unknown_sections(
    const std::vector<manifest::Plugin>& plugins) const {
  std::vector<Diagnostic> unknown;
  const toml::table* sections = document_->root.get_as<toml::table>("plugins");
  if (sections == nullptr) return unknown;
  for (const manifest::Plugin& plugin : plugins) {
    add_hidden_sections(document_->root, *sections, plugin, &unknown);
  }
  for (const auto& entry : *sections) {
    const toml::key& key = entry.first;  // clang 14 captures no structured binding
    const toml::node& node = entry.second;
    const bool known =
        std::any_of(plugins.begin(), plugins.end(), [&](const manifest::Plugin& plugin) {
          return key.str() == plugin.uri() ||
                 std::any_of(plugin.aliases.begin(), plugin.aliases.end(),
                             [&](const std::string& alias) {
                               return key.str() == plugin.type + "." + alias;
                             });
        });
    const std::string section = "section [plugins.\"" + std::string(key.str()) + "\"]";
    if (!node.is_table()) {
      unknown.push_back(diagnostic_at(node, section + " must be a table"));
    } else if (!known && node.as_table()->size() == 1 &&
               node.as_table()->begin()->second.is_table() &&
               key.str().find('.') == std::string_view::npos) {
      // [plugins.io.containerd.content.v1.content]: TOML takes the dots for tables in tables.
      unknown.push_back(diagnostic_at(
          node,
          section +
              " belongs to no installed plugin; write TYPE.ID in quotes: [plugins.\"TYPE.ID\"]"));
    } else if (!known) {
      unknown.push_back(diagnostic_at(node, section + " belongs to no installed plugin"));
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
