// `berthd config default` and `berthd config dump`.
#include <algorithm>
#include <sstream>

#include "config/document.h"
#include "config/schema.h"
#include "manifest/toml_json.h"

namespace berth::config {
namespace {

/// A literal string where it can be one, else a basic one with escapes; always on one line.
std::string toml_string(std::string_view text) {
  const bool plain = std::all_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f && c != '\'';
  });
  if (plain) return "'" + std::string(text) + "'";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      constexpr std::string_view kHex = "0123456789ABCDEF";
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  return out + "\"";
}

/// Bare where it may be.
std::string toml_key(std::string_view key) {
  const bool bare = !key.empty() && std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
  return bare ? std::string(key) : toml_string(key);
}

/// A JSON value as inline TOML.
std::string inline_toml(const nlohmann::json& value) {
  if (value.is_object()) {
    std::string text;
    for (const auto& [key, one] : value.items()) {
      text += (text.empty() ? "" : ", ") + toml_key(key) + " = " + inline_toml(one);
    }
    return "{" + text + "}";
  }
  if (value.is_array()) {
    std::string text;
    for (const auto& one : value) text += (text.empty() ? "" : ", ") + inline_toml(one);
    return "[" + text + "]";
  }
  if (value.is_string()) return toml_string(value.get<std::string>());
  if (value.is_number_float()) {
    const std::string text =
        value.dump();  // TOML wants a digit after the point, and JSON may have no point
    return text.find_first_of(".eE") == std::string::npos ? text + ".0" : text;
  }
  return value.dump();
}

void print_line(std::ostringstream& out, std::string_view indent, std::string_view key,
                const std::string& value, const std::string& comment) {
  out << indent << key << " = " << value;
  if (!comment.empty()) out << "  # " << comment;
  out << "\n";
}

}  // namespace

std::string default_text(const std::vector<manifest::Plugin>& plugins) {
  std::ostringstream out;
  out << "# Configuration of berthd: every key with its default.\n";
  std::string_view section;
  for (const HostKey& key : host_keys()) {
    if (!key.ignored.empty()) continue;
    if (key.section != section) out << "\n[" << key.section << "]\n";
    section = key.section;
    out << "# " << key.doc << "\n" << key.key << " = " << key.default_toml << "\n";
  }
  out << "\n[plugins]\n";
  for (const manifest::Plugin& plugin : plugins) {
    if (plugin.config.empty()) continue;
    out << "\n  [plugins." << toml_string(plugin.uri()) << "]\n";
    for (const manifest::ConfigKey& key : plugin.config) {
      out << "    # " << key.doc << "\n    " << key.key << " = "
          << inline_toml(nlohmann::json::parse(key.default_json, nullptr, false)) << "\n";
    }
  }
  return out.str();
}

namespace {

/// A table as it was written, with its tables as sections of their own.
void print_table(std::ostringstream& out, const std::string& path, const toml::table& table,
                 bool origin) {
  out << "\n[" << path << "]\n";
  for (const auto& [key, node] : table) {
    if (node.is_table()) continue;
    print_line(out, "  ", toml_key(key.str()), inline_toml(manifest::to_json(node)),
               origin ? origin_of(node) : std::string());
  }
  for (const auto& [key, node] : table) {
    if (const toml::table* inner = node.as_table()) {
      print_table(out, path + "." + toml_key(key.str()), *inner, origin);
    }
  }
}

bool is_claimed(std::string_view section, const std::vector<manifest::Plugin>& plugins) {
  return std::any_of(plugins.begin(), plugins.end(), [&](const manifest::Plugin& plugin) {
    return section == plugin.uri() ||
           std::any_of(plugin.aliases.begin(), plugin.aliases.end(), [&](const std::string& alias) {
             return section == plugin.type + "." + alias;
           });
  });
}

/// One plugin's section: all its keys with what is in force, then the choices of providers.
void print_plugin(std::ostringstream& out, const manifest::Plugin& plugin, const toml::table* own,
                  const nlohmann::json& effective, bool origin) {
  if (plugin.config.empty() && own == nullptr) return;
  out << "\n  [plugins." << toml_string(plugin.uri()) << "]\n";
  for (const manifest::ConfigKey& key : plugin.config) {
    const toml::node* node = own == nullptr ? nullptr : own->get(key.key);
    // A value that was refused is not in force: the default is.
    if (node != nullptr && manifest::to_json(*node) != effective[key.key]) node = nullptr;
    print_line(out, "    ", key.key, inline_toml(effective[key.key]),
               !origin           ? std::string()
               : node == nullptr ? "default"
                                 : origin_of(*node));
  }
  for (const manifest::Requirement& need : plugin.requires_) {
    const toml::node* node = own == nullptr ? nullptr : own->get(need.name);
    if (node == nullptr || !node->is_string()) continue;
    print_line(out, "    ", need.name, toml_string(node->as_string()->get()),
               origin ? origin_of(*node) : std::string());
  }
  for (const char* key : {"placement", "process"}) {
    const toml::node* node = own == nullptr ? nullptr : own->get(key);
    if (node == nullptr || !manifest::is_plain(*node)) continue;
    print_line(out, "    ", key, inline_toml(manifest::to_json(*node)),
               origin ? origin_of(*node) : std::string());
  }
}

}  // namespace

std::string Config::dump(const std::vector<manifest::Plugin>& plugins, bool origin) const {
  const toml::table& root = document_->root;
  std::ostringstream out;
  std::string_view section;
  for (const HostKey& key : host_keys()) {
    if (!key.ignored.empty()) continue;
    const toml::table* table = key.section.empty() ? &root : root.get_as<toml::table>(key.section);
    const toml::node* node = table == nullptr ? nullptr : table->get(key.key);
    if (node == nullptr) continue;
    if (key.section != section) out << "\n[" << key.section << "]\n";
    section = key.section;
    // What was imported is part of this text: to import it again would undo what overrides it.
    const bool imports = key.section.empty() && key.key == "imports";
    print_line(out, key.section.empty() ? "" : "  ", key.key,
               imports ? "[]" : inline_toml(manifest::to_json(*node)),
               origin ? origin_of(*node) : std::string());
  }
  for (const char* name : {"proxy_plugins", "timeouts", "stream_processors"}) {
    const toml::table* table = root.get_as<toml::table>(name);
    if (table != nullptr && !table->empty()) print_table(out, name, *table, origin);
  }
  out << "\n[plugins]\n";
  for (const manifest::Plugin& plugin : plugins) {
    std::vector<Diagnostic> ignored;
    const auto effective = nlohmann::json::parse(plugin_json(plugin, &ignored), nullptr, false);
    print_plugin(out, plugin, section_of(root, plugin), effective, origin);
  }
  if (const toml::table* sections = root.get_as<toml::table>("plugins")) {
    for (const auto& [key, node] : *sections) {
      if (!node.is_table() || is_claimed(key.str(), plugins)) continue;
      print_table(out, "plugins." + toml_key(key.str()), *node.as_table(), origin);
    }
  }
  return out.str();
}

}  // namespace berth::config
