#include "config/config.h"

#include <grp.h>

#include <algorithm>
#include <set>

#include "config/document.h"
#include "config/schema.h"

namespace berth::config {

std::string Diagnostic::to_string() const {
  return (file.empty() ? std::string("configuration") : file + ":" + std::to_string(line)) + ": " +
         text;
}

bool has_type(const toml::node& node, std::string_view type) {
  if (type == "string" || type == "duration") return node.is_string();
  if (type == "integer") return node.is_integer();
  if (type == "boolean") return node.is_boolean();
  if (type == "float") return node.is_floating_point() || node.is_integer();
  if (type == "list") return node.is_array();
  if (type == "table") return node.is_table();
  if (type == "dirs") return node.is_string() || node.is_array();
  return false;
}

std::string origin_of(const toml::node& node) {
  const toml::source_region& source = node.source();
  if (!source.path) return "default";
  if (source.begin.line == 0) return *source.path;
  return *source.path + ":" + std::to_string(source.begin.line);
}

Diagnostic diagnostic_at(const toml::node& node, std::string text) {
  const toml::source_region& source = node.source();
  return {source.path ? *source.path : std::string(), source.begin.line, std::move(text)};
}

namespace {

void override_value(toml::table& root, std::string_view section, std::string_view key,
                    const std::optional<std::string>& value) {
  if (!value) return;
  // A parsed document is how toml++ gives a value an origin.
  toml::table parsed =
      toml::parse("\"" + std::string(key) + "\" = ''", std::string_view("command line"));
  parsed.get_as<std::string>(key)->get() = *value;
  toml::table* table = &root;
  if (!section.empty()) {
    if (root.get_as<toml::table>(section) == nullptr) {
      root.insert_or_assign(section, toml::table{});  // what was there instead has been reported
    }
    table = root.get_as<toml::table>(section);
  }
  table->insert_or_assign(key, std::move(*parsed.get_as<std::string>(key)));
}

class Extractor {
 public:
  Extractor(const toml::table& root, std::vector<Diagnostic>* diagnostics)
      : root_(root), diagnostics_(diagnostics) {}

  std::string text(std::string_view section, std::string_view key) const {
    const toml::node* node = find(section, key);
    return node != nullptr && node->is_string() ? node->as_string()->get() : std::string();
  }

  int64_t number(std::string_view section, std::string_view key, int64_t low, int64_t high) const {
    const toml::node* node = find(section, key);
    if (node == nullptr || !node->is_integer()) return low;
    const int64_t value = node->as_integer()->get();
    if (value < low || value > high) {
      diagnostics_->push_back(diagnostic_at(
          *node, "\"" + std::string(key) + "\" is " + std::to_string(value) + "; it must be from " +
                     std::to_string(low) + " to " + std::to_string(high)));
      return std::clamp(value, low, high);
    }
    return value;
  }

  /// 0 stands for the default, as in containerd's files.
  int message_limit(std::string_view key) const {
    const toml::node* node = find("grpc", key);
    if (node != nullptr && node->is_integer() && node->as_integer()->get() == 0) return 16 << 20;
    return static_cast<int>(number("grpc", key, 1 << 10, 1 << 30));
  }

  std::vector<std::string> texts(const toml::node* node, std::string_view what) const {
    std::vector<std::string> list;
    if (node == nullptr) return list;
    if (const auto* one = node->as_string()) return {one->get()};
    if (!node->is_array()) return list;
    for (const toml::node& element : *node->as_array()) {
      if (const auto* value = element.as_string()) {
        list.push_back(value->get());
      } else {
        diagnostics_->push_back(
            diagnostic_at(element, "\"" + std::string(what) + "\" must be a list of strings"));
      }
    }
    return list;
  }

  const toml::node* find(std::string_view section, std::string_view key) const {
    if (section.empty()) return root_.get(key);
    const toml::table* table = root_.get_as<toml::table>(section);
    return table == nullptr ? nullptr : table->get(key);
  }

  std::vector<ProxyPlugin> proxies() const {
    std::vector<ProxyPlugin> list;
    const toml::table* table = root_.get_as<toml::table>("proxy_plugins");
    if (table == nullptr) return list;
    for (const auto& [name, node] : *table) {
      const toml::table* one = node.as_table();
      if (one == nullptr) {
        diagnostics_->push_back(
            diagnostic_at(node, "[proxy_plugins." + std::string(name.str()) + "] must be a table"));
        continue;
      }
      ProxyPlugin proxy;
      proxy.id = name.str();
      for (const auto& [key, value] : *one) {
        const std::string_view k = key.str();
        std::string* into = k == "type"        ? &proxy.type
                            : k == "address"   ? &proxy.address
                            : k == "platform"  ? &proxy.platform
                            : k == "namespace" ? &proxy.ns
                                               : nullptr;
        if (k == "exports" && value.is_table()) continue;
        if (into != nullptr && value.is_string()) {
          *into = value.as_string()->get();
        } else if (k == "capabilities" && value.is_array()) {
          proxy.capabilities = texts(&value, k);
        } else {
          diagnostics_->push_back(
              diagnostic_at(value, "unknown or ill-typed key \"" + std::string(k) +
                                       "\" in [proxy_plugins." + proxy.id + "]"));
        }
      }
      for (const auto& [key, value] :
           {std::pair("type", &proxy.type), {"address", &proxy.address}}) {
        if (value->empty()) {
          diagnostics_->push_back(diagnostic_at(
              node, "[proxy_plugins." + proxy.id + "] has no \"" + std::string(key) + "\""));
        }
      }
      const Diagnostic place = diagnostic_at(node, "");
      proxy.file = place.file;
      proxy.line = place.line;
      list.push_back(std::move(proxy));
    }
    return list;
  }

 private:
  const toml::table& root_;
  std::vector<Diagnostic>* diagnostics_;
};

std::optional<uint32_t> group_id(const std::string& name) {
  group entry{};
  group* found = nullptr;
  std::vector<char> text(1 << 16);
  if (::getgrnam_r(name.c_str(), &entry, text.data(), text.size(), &found) != 0 ||
      found == nullptr) {
    return std::nullopt;
  }
  return found->gr_gid;
}

Values extract(const toml::table& root, std::vector<Diagnostic>* diagnostics) {
  const Extractor in(root, diagnostics);
  Values values;
  values.root = in.text("", "root");
  values.state = in.text("", "state");
  values.temp = in.text("", "temp");
  values.plugin_dirs = in.texts(in.find("", "plugin_dir"), "plugin_dir");
  const auto id = [&](std::string_view section, std::string_view key) {
    return static_cast<uint32_t>(in.number(section, key, 0, UINT32_MAX - 1));
  };
  values.grpc = {in.text("grpc", "address"), id("grpc", "uid"), id("grpc", "gid")};
  if (const std::string group = in.text("grpc", "group"); !group.empty()) {
    if (const auto gid = group_id(group)) {
      values.grpc.gid = *gid;
    } else {
      diagnostics->push_back(
          diagnostic_at(*in.find("grpc", "group"),
                        "\"group\" in [grpc] is \"" + group +
                            "\", which is no group of this system: make it (groupadd --system " +
                            group + ") or name another one; until then gid holds"));
    }
  }
  values.ttrpc = {in.text("ttrpc", "address"), id("ttrpc", "uid"), id("ttrpc", "gid")};
  if (values.ttrpc.address.empty()) {
    values.ttrpc = {values.grpc.address + ".ttrpc", values.grpc.uid, values.grpc.gid};
  }
  values.max_receive_bytes = in.message_limit("max_recv_message_size");
  values.max_send_bytes = in.message_limit("max_send_message_size");
  values.log_level = in.text("debug", "level");
  values.log_format = in.text("debug", "format");
  values.metrics_address = in.text("metrics", "address");
  values.disabled_plugins = in.texts(in.find("", "disabled_plugins"), "disabled_plugins");
  values.required_plugins = in.texts(in.find("", "required_plugins"), "required_plugins");
  values.proxy_plugins = in.proxies();
  values.cgroup_path = in.text("cgroup", "path");
  values.oom_score = in.number("", "oom_score", -1000, 1000);
  for (const char* key : {"root", "state"}) {
    const toml::node* node = in.find("", key);
    if (in.text("", key).starts_with('/')) continue;
    diagnostics->push_back(diagnostic_at(*node, "\"" + std::string(key) + "\" is \"" +
                                                    in.text("", key) +
                                                    "\"; it must be an absolute path"));
  }
  return values;
}

/// Puts what was worked out from other values into the document, so that a dump shows what is in
/// force.
void fill_in_effective(toml::table& root, const Values& values) {
  const auto set = [&](std::string_view section, std::string_view key, const auto& effective) {
    auto* value = root.get_as<toml::table>(section)->get(key);
    using Native = std::remove_cvref_t<decltype(effective)>;
    if (auto* typed = value->as<Native>(); typed != nullptr) typed->get() = effective;
  };
  set("grpc", "gid", int64_t{values.grpc.gid});
  set("ttrpc", "address", values.ttrpc.address);
  set("ttrpc", "uid", int64_t{values.ttrpc.uid});
  set("ttrpc", "gid", int64_t{values.ttrpc.gid});
  set("grpc", "max_recv_message_size", int64_t{values.max_receive_bytes});
  set("grpc", "max_send_message_size", int64_t{values.max_send_bytes});
}

}  // namespace

Config::Config() : document_(std::make_unique<Document>()) {}
Config::Config(Config&&) noexcept = default;
Config& Config::operator=(Config&&) noexcept = default;
Config::~Config() = default;

bool Config::plugin_dir_is_default() const {
  const toml::node* node = document_->root.get("plugin_dir");
  return node != nullptr && origin_of(*node) == "default";
}

Result<Config> Config::load(const std::string& file, const Overrides& overrides) {
  Config config;
  toml::table& root = config.document_->root;
  if (!file.empty()) {
    BERTH_ASSIGN_OR_RETURN(root, load_merged(file, &config.diagnostics_));
  }
  check_host_sections(root, &config.diagnostics_);
  override_value(root, "", "root", overrides.root);
  override_value(root, "", "state", overrides.state);
  override_value(root, "", "plugin_dir", overrides.plugin_dir);
  override_value(root, "grpc", "address", overrides.address);
  override_value(root, "debug", "level", overrides.log_level);
  add_defaults(root);
  config.values_ = extract(root, &config.diagnostics_);
  fill_in_effective(root, config.values_);
  return config;
}

}  // namespace berth::config
