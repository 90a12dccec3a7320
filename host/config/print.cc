// `berthd config default` and `berthd config dump`.
#include <sstream>

#include "config/document.h"
#include "config/schema.h"
#include "manifest/toml_json.h"

namespace berth::config {
namespace {

std::string toml_string(std::string_view text) {
  std::ostringstream out;
  out << toml::value<std::string>(std::string(text));
  return out.str();
}

/// A JSON value as inline TOML.
std::string inline_toml(const nlohmann::json& value) {
  if (value.is_object()) {
    std::string text;
    for (const auto& [key, one] : value.items()) {
      text += (text.empty() ? "" : ", ") + toml_string(key) + " = " + inline_toml(one);
    }
    return "{" + text + "}";
  }
  if (value.is_array()) {
    std::string text;
    for (const auto& one : value) text += (text.empty() ? "" : ", ") + inline_toml(one);
    return "[" + text + "]";
  }
  if (value.is_string()) return toml_string(value.get<std::string>());
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

std::string Config::dump(const std::vector<manifest::Plugin>& plugins, bool origin) const {
  std::ostringstream out;
  std::string_view section;
  for (const HostKey& key : host_keys()) {
    if (!key.ignored.empty()) continue;
    const toml::table* table =
        key.section.empty() ? &document_->root : document_->root.get_as<toml::table>(key.section);
    const toml::node* node = table == nullptr ? nullptr : table->get(key.key);
    if (node == nullptr) continue;
    if (key.section != section) out << "\n[" << key.section << "]\n";
    section = key.section;
    print_line(out, key.section.empty() ? "" : "  ", key.key, inline_toml(manifest::to_json(*node)),
               origin ? origin_of(*node) : std::string());
  }
  for (const ProxyPlugin& proxy : values_.proxy_plugins) {
    out << "\n[proxy_plugins." << toml_string(proxy.id) << "]\n";
    print_line(out, "  ", "type", toml_string(proxy.type), "");
    print_line(out, "  ", "address", toml_string(proxy.address), "");
  }
  out << "\n[plugins]\n";
  for (const manifest::Plugin& plugin : plugins) {
    if (plugin.config.empty()) continue;
    const toml::table* own = section_of(document_->root, plugin);
    std::vector<Diagnostic> ignored;
    const auto effective = nlohmann::json::parse(plugin_json(plugin, &ignored), nullptr, false);
    out << "\n  [plugins." << toml_string(plugin.uri()) << "]\n";
    for (const manifest::ConfigKey& key : plugin.config) {
      const toml::node* node = own == nullptr ? nullptr : own->get(key.key);
      print_line(out, "    ", key.key, inline_toml(effective[key.key]),
                 !origin           ? std::string()
                 : node == nullptr ? "default"
                                   : origin_of(*node));
    }
  }
  return out.str();
}

}  // namespace berth::config
