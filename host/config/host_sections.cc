// The host's own sections: whether what they say is known and has an effect, and what holds where
// they say nothing.
#include <algorithm>

#include "config/document.h"
#include "config/schema.h"
#include "manifest/toml_text.h"

namespace berth::config {
namespace {

std::string quoted(std::string_view text) { return "\"" + std::string(text) + "\""; }

std::string with_article(std::string_view type) {
  if (type == "integer") return "an integer";
  if (type == "boolean") return "true or false";
  if (type == "dirs") return "a string or a list of strings";
  if (type == "list") return "a list of strings";
  return "a " + std::string(type);
}

bool is_open_section(std::string_view key) {
  return key == "plugins" || key == "proxy_plugins" || key == "timeouts" ||
         key == "stream_processors";
}

bool is_section(std::string_view key) {
  return std::any_of(host_keys().begin(), host_keys().end(),
                     [&](const HostKey& one) { return one.section == key; });
}

/// Whether a value says no more than the absence of its key does.
bool is_zero(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get().empty();
  if (const auto* number = node.as_integer()) return number->get() == 0;
  if (const auto* flag = node.as_boolean()) return !flag->get();
  return false;
}

class Checker {
 public:
  explicit Checker(std::vector<Diagnostic>* diagnostics) : diagnostics_(diagnostics) {}

  void root(const toml::table& table) {
    for (const auto& [key, node] : table) {
      const std::string_view name = key.str();
      if (is_open_section(name) || (is_section(name) && !name.empty())) {
        const toml::table* section = node.as_table();
        if (section == nullptr) {
          complain(node, "[" + std::string(name) + "] must be a table");
        } else if (!is_open_section(name)) {
          keys(*section, name);
        }
      } else {
        one_key("", name, node);
      }
    }
    plugin_uris(table, "disabled_plugins");
    plugin_uris(table, "required_plugins");
    timeouts(table.get_as<toml::table>("timeouts"));
    stream_processors(table.get_as<toml::table>("stream_processors"));
  }

 private:
  void complain(const toml::node& node, std::string text) {
    diagnostics_->push_back(diagnostic_at(node, std::move(text)));
  }

  void keys(const toml::table& table, std::string_view section) {
    for (const auto& [key, node] : table) one_key(section, key.str(), node);
  }

  void one_key(std::string_view section, std::string_view name, const toml::node& node) {
    const std::string place =
        quoted(name) + (section.empty() ? std::string() : " in [" + std::string(section) + "]");
    const HostKey* known = find_host_key(section, name);
    if (known == nullptr) {
      complain(node, "unknown key " + place);
    } else if (!has_type(node, known->type)) {
      complain(node, "key " + place + " must be " + with_article(known->type));
    } else if (!known->ignored.empty() && !is_zero(node)) {
      complain(node, "key " + place + " has no effect: " + std::string(known->ignored));
    }
  }

  /// A short name ("cri") of old files would silently disable nothing.
  void plugin_uris(const toml::table& table, std::string_view key) {
    const toml::array* list = table.get_as<toml::array>(key);
    if (list == nullptr) return;
    for (const toml::node& node : *list) {
      const auto* text = node.as_string();
      if (text == nullptr || text->get().find('.') != std::string::npos) continue;
      complain(node, quoted(key) + " has " + quoted(text->get()) +
                         ", which names no plugin: write TYPE.ID, for example "
                         "\"io.containerd.grpc.v1." +
                         text->get() + "\"");
    }
  }

  void timeouts(const toml::table* table) {
    if (table == nullptr) return;
    for (const auto& [key, node] : *table) {
      const auto* text = node.as_string();
      if (text == nullptr || !manifest::parse_duration(text->get())) {
        complain(node, "key " + quoted(key.str()) +
                           " in [timeouts] must be a duration such as \"150ms\" or \"2h45m\"");
      }
    }
  }

  void stream_processors(const toml::table* table) {
    if (table == nullptr) return;
    for (const auto& [name, node] : *table) {
      const std::string section = "[stream_processors." + quoted(name.str()) + "]";
      const toml::table* processor = node.as_table();
      if (processor == nullptr) {
        complain(node, section + " must be a table");
        continue;
      }
      for (const auto& [key, value] : *processor) {
        const std::string_view k = key.str();
        const bool text = k == "returns" || k == "path";
        const bool list = k == "accepts" || k == "args" || k == "env";
        if (!text && !list) {
          complain(value, "unknown key " + quoted(k) + " in " + section);
        } else if ((text && !value.is_string()) || (list && !value.is_array())) {
          complain(value, "key " + quoted(k) + " in " + section + " must be " +
                              with_article(text ? "string" : "list"));
        }
      }
    }
  }

  std::vector<Diagnostic>* diagnostics_;
};

struct ServerKey {
  std::string_view plugin;  // id in io.containerd.server.v1
  std::string_view key;
  std::string_view section;
  std::string_view host_key;
};

// What containerd's version 4 has moved (cmd/containerd/server/config, plugins/server).
constexpr ServerKey kServerKeys[] = {
    {"grpc", "address", "grpc", "address"},
    {"grpc", "uid", "grpc", "uid"},
    {"grpc", "gid", "grpc", "gid"},
    {"grpc", "group", "grpc", "group"},
    {"grpc", "max_recv_message_size", "grpc", "max_recv_message_size"},
    {"grpc", "max_send_message_size", "grpc", "max_send_message_size"},
    {"grpc-tcp", "address", "grpc", "tcp_address"},
    {"grpc-tcp", "tls_ca", "grpc", "tcp_tls_ca"},
    {"grpc-tcp", "tls_cert", "grpc", "tcp_tls_cert"},
    {"grpc-tcp", "tls_key", "grpc", "tcp_tls_key"},
    {"grpc-tcp", "tls_common_name", "grpc", "tcp_tls_common_name"},
    {"ttrpc", "address", "ttrpc", "address"},
    {"ttrpc", "uid", "ttrpc", "uid"},
    {"ttrpc", "gid", "ttrpc", "gid"},
    {"debug", "address", "debug", "address"},
    {"debug", "uid", "debug", "uid"},
    {"debug", "gid", "debug", "gid"},
    {"metrics", "address", "metrics", "address"},
};

}  // namespace

void check_host_sections(const toml::table& root, std::vector<Diagnostic>* diagnostics) {
  Checker(diagnostics).root(root);
}

void add_defaults(toml::table& root) {
  for (const HostKey& key : host_keys()) {
    toml::table* table = &root;
    if (!key.section.empty()) {
      table = root.get_as<toml::table>(key.section);
      if (table == nullptr) {
        root.insert_or_assign(key.section, toml::table{});
        table = root.get_as<toml::table>(key.section);
      }
    }
    const toml::node* present = table->get(key.key);
    // containerd's own default file has plugin_dir = "".
    const bool unset = key.type == "dirs" && present != nullptr && is_zero(*present);
    if (present != nullptr && has_type(*present, key.type) && !unset) continue;
    toml::table parsed = toml::parse("value = " + key.default_toml);
    const std::string name(key.key);
    parsed.get("value")->visit([&](auto& value) {
      std::remove_cvref_t<decltype(value)> copy(value);  // a copy has no origin: "default"
      table->insert_or_assign(name, std::move(copy));
    });
  }
}

void move_server_sections(toml::table& root) {
  toml::table* plugins = root.get_as<toml::table>("plugins");
  if (plugins == nullptr) return;
  for (const ServerKey& one : kServerKeys) {
    const std::string uri = "io.containerd.server.v1." + std::string(one.plugin);
    toml::table* from = plugins->get_as<toml::table>(uri);
    if (from == nullptr) continue;
    toml::node* value = from->get(one.key);
    if (value != nullptr) {
      if (root.get(one.section) == nullptr) root.insert_or_assign(one.section, toml::table{});
      toml::table* to = root.get_as<toml::table>(one.section);
      if (to == nullptr) continue;  // ill-typed, which is reported
      value->visit([&](auto& moved) { to->insert_or_assign(one.host_key, std::move(moved)); });
      from->erase(one.key);
    }
    // What is left is unknown, and reported as an unknown section.
    if (from->empty()) plugins->erase(uri);
  }
}

}  // namespace berth::config
