// Where a plugin runs: `placement` and the table `process` of its section.
#include "config/document.h"
#include "manifest/toml_text.h"

namespace berth::config {
namespace {

/// A positive duration of the table, or nothing and a diagnostic.
void read_duration(const toml::node& node, const std::string& name, std::chrono::nanoseconds* out,
                   std::vector<Diagnostic>* diagnostics) {
  const auto* text = node.as_string();
  const auto parsed = text == nullptr ? std::nullopt : manifest::parse_duration(text->get());
  if (parsed && *parsed > std::chrono::nanoseconds(0)) {
    *out = *parsed;
    return;
  }
  diagnostics->push_back(
      diagnostic_at(node, name + " must be a duration above zero, such as \"30s\""));
}

void read_process(const toml::node& node, const std::string& where, Placement* out,
                  std::vector<Diagnostic>* diagnostics) {
  const toml::table* table = node.as_table();
  if (table == nullptr) {
    diagnostics->push_back(diagnostic_at(node, "key \"process\"" + where + " must be a table"));
    return;
  }
  for (const auto& [key, value] : *table) {
    const std::string name = "key \"process." + std::string(key.str()) + "\"" + where;
    if (key.str() == "memory_max") {
      const auto* bytes = value.as_integer();
      if (bytes == nullptr || bytes->get() < 0) {
        diagnostics->push_back(
            diagnostic_at(value, name + " must be a number of bytes, 0 for no limit"));
      } else {
        out->memory_max = static_cast<uint64_t>(bytes->get());
      }
    } else if (key.str() == "hang_timeout") {
      read_duration(value, name, &out->hang_timeout, diagnostics);
    } else if (key.str() == "start_timeout") {
      read_duration(value, name, &out->start_timeout, diagnostics);
    } else {
      diagnostics->push_back(diagnostic_at(value, "unknown " + name));
    }
  }
}

}  // namespace

Placement placement_of(const toml::table* section, const std::string& where,
                       std::vector<Diagnostic>* diagnostics) {
  Placement out;
  if (section == nullptr) return out;
  if (const toml::node* node = section->get("placement"); node != nullptr) {
    const auto* text = node->as_string();
    if (text != nullptr && text->get() == "process") {
      out.process = true;
    } else if (text == nullptr || text->get() != "host") {
      diagnostics->push_back(
          diagnostic_at(*node, "placement" + where + " must be \"host\" or \"process\""));
    }
  }
  if (const toml::node* node = section->get("process"); node != nullptr) {
    read_process(*node, where, &out, diagnostics);
    if (!out.process) {
      diagnostics->push_back(diagnostic_at(
          *node, "table \"process\"" + where + " has no effect without placement = \"process\""));
    }
  }
  return out;
}

Placement Config::placement(const manifest::Plugin& plugin) const {
  std::vector<Diagnostic> told_by_plugin_json;
  return placement_of(section_of(document_->root, plugin), {}, &told_by_plugin_json);
}

}  // namespace berth::config
