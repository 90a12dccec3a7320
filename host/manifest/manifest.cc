#include "manifest/manifest.h"

#include <algorithm>
#include <functional>
#include <set>

#include "manifest/elf_note.h"
#include "manifest/toml_json.h"
#include "manifest/toml_text.h"

namespace berth::manifest {
namespace {

constexpr std::string_view kConfigTypes[] = {"string",   "integer", "boolean", "float",
                                             "duration", "list",    "table"};

/// Keys that the host itself understands in every plugin's section.
constexpr std::string_view kReservedKeys[] = {"placement", "process"};

bool is_word(std::string_view text, std::string_view also) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           also.find(c) != std::string_view::npos;
  });
}

/// TYPE.ID is the name of a folder, of which a file system takes 255 bytes.
constexpr size_t kLongestIdentifier = 100;

/// Types and ids are parts of directory names and of URIs.
bool is_identifier(std::string_view text) {
  return text.size() <= kLongestIdentifier && is_word(text, "._-") &&
         is_word(text.substr(0, 1), "");
}

/// Collects what is wrong, with lines, so that all of it is reported together.
class Reader {
 public:
  explicit Reader(std::string file) : file_(std::move(file)) {}

  void complain(const toml::node& where, const std::string& what) {
    errors_ += (errors_.empty() ? "" : "\n") + file_ + ":" +
               std::to_string(where.source().begin.line) + ": " + what;
  }

  void known_keys(const toml::table& table, std::initializer_list<std::string_view> keys) {
    for (const auto& [key, value] : table) {
      if (std::find(keys.begin(), keys.end(), key.str()) == keys.end()) {
        complain(value, "unknown key \"" + std::string(key.str()) + "\"");
      }
    }
  }

  std::string text(const toml::table& table, std::string_view key, bool needed) {
    const toml::node* node = table.get(key);
    if (node == nullptr) {
      if (needed) complain(table, "\"" + std::string(key) + "\" is missing");
      return {};
    }
    if (const auto* value = node->as_string(); value != nullptr) {
      if (needed && value->get().empty()) complain(*node, "\"" + std::string(key) + "\" is empty");
      return value->get();
    }
    complain(*node, "\"" + std::string(key) + "\" must be a string");
    return {};
  }

  /// A string that must be there and be a word of letters, digits and the characters in `also`.
  std::string word(const toml::table& table, std::string_view key, std::string_view also) {
    std::string value = text(table, key, true);
    if (!value.empty() && !is_word(value, also)) {
      complain(*table.get(key), "\"" + std::string(key) + "\" is \"" + value +
                                    "\"; use letters, digits and \"" + std::string(also) + "\"");
    }
    return value;
  }

  /// The same for a type or an id.
  std::string identifier(const toml::table& table, std::string_view key) {
    std::string value = text(table, key, true);
    if (!value.empty() && !is_identifier(value)) complain_identifier(*table.get(key), key, value);
    return value;
  }

  void complain_identifier(const toml::node& where, std::string_view key,
                           const std::string& value) {
    const bool longer = value.size() > kLongestIdentifier;
    complain(where,
             "\"" + std::string(key) + "\" has " +
                 (longer ? std::to_string(value.size()) + " characters; use at most " +
                               std::to_string(kLongestIdentifier) + ":"
                         : "\"" + value + "\"; use") +
                 " letters, digits, \".\", \"_\" and \"-\", and begin with a letter or a digit");
  }

  bool flag(const toml::table& table, std::string_view key) {
    const toml::node* node = table.get(key);
    if (node == nullptr) return false;
    if (const auto* value = node->as_boolean(); value != nullptr) return value->get();
    complain(*node, "\"" + std::string(key) + "\" must be true or false");
    return false;
  }

  int64_t number(const toml::table& table, std::string_view key, int64_t absent) {
    const toml::node* node = table.get(key);
    if (node == nullptr) return absent;
    if (const auto* value = node->as_integer();
        value != nullptr && value->get() >= 0 && value->get() <= INT32_MAX) {
      return value->get();
    }
    complain(*node, "\"" + std::string(key) + "\" must be a number from 0 on");
    return absent;
  }

  std::vector<std::string> texts(const toml::table& table, std::string_view key) {
    std::vector<std::string> list;
    const toml::node* node = table.get(key);
    if (node == nullptr) return list;
    const toml::array* array = node->as_array();
    if (array == nullptr) {
      complain(*node, "\"" + std::string(key) + "\" must be a list of strings");
      return list;
    }
    for (const toml::node& element : *array) {
      if (const auto* value = element.as_string(); value != nullptr) {
        list.push_back(value->get());
      } else {
        complain(element, "\"" + std::string(key) + "\" must be a list of strings");
      }
    }
    return list;
  }

  void tables(const toml::table& table, std::string_view key,
              const std::function<void(const toml::table&)>& each) {
    const toml::node* node = table.get(key);
    if (node == nullptr) return;
    const toml::array* array = node->as_array();
    if (array == nullptr) return complain(*node, "\"" + std::string(key) + "\" must be [[tables]]");
    for (const toml::node& element : *array) {
      if (const toml::table* one = element.as_table(); one != nullptr) {
        each(*one);
      } else {
        complain(element, "\"" + std::string(key) + "\" must be [[tables]]");
      }
    }
  }

  const std::string& errors() const { return errors_; }

 private:
  std::string file_;
  std::string errors_;
};

/// Whether a default is of the key's type; a duration is a string.
bool has_type(const toml::node& node, std::string_view type) {
  if (type == "string" || type == "duration") return node.is_string();
  if (type == "integer") return node.is_integer();
  if (type == "boolean") return node.is_boolean();
  if (type == "float") return node.is_floating_point() || node.is_integer();
  if (type == "list") return node.is_array();
  if (type == "table") return node.is_table();
  return false;
}

std::string zero_of(std::string_view type) {
  if (type == "integer" || type == "float") return "0";
  if (type == "boolean") return "false";
  if (type == "list") return "[]";
  if (type == "table") return "{}";
  return "\"\"";
}

Requirement read_requirement(Reader& in, const toml::table& table) {
  in.known_keys(table, {"name", "type", "id", "service", "version", "cardinality", "order_only"});
  Requirement requirement;
  requirement.name = in.word(table, "name", "_-");
  requirement.type = in.identifier(table, "type");
  if (const toml::node* id = table.get("id"); id != nullptr) {
    requirement.id = in.text(table, "id", true);
    if (!requirement.id.empty() && requirement.id != "*" && !is_identifier(requirement.id)) {
      in.complain_identifier(*id, "id", requirement.id);
    }
  }
  requirement.service = in.text(table, "service", false);
  requirement.order_only = in.flag(table, "order_only");
  if (auto range = VersionRange::parse(in.text(table, "version", false)); range.ok()) {
    requirement.version = *range;
  } else {
    in.complain(*table.get("version"), range.status().message());
  }
  const std::string cardinality = in.text(table, "cardinality", false);
  if (cardinality == "optional") {
    requirement.cardinality = Cardinality::kOptional;
  } else if (cardinality == "all") {
    requirement.cardinality = Cardinality::kAll;
  } else if (!cardinality.empty() && cardinality != "one") {
    in.complain(*table.get("cardinality"),
                "\"cardinality\" is \"" + cardinality + "\"; it must be one, optional or all");
  }
  return requirement;
}

ConfigKey read_config_key(Reader& in, const toml::table& table) {
  in.known_keys(table, {"key", "type", "default", "doc"});
  ConfigKey key;
  key.key = in.word(table, "key", "_-");
  if (std::find(std::begin(kReservedKeys), std::end(kReservedKeys), key.key) !=
      std::end(kReservedKeys)) {
    in.complain(*table.get("key"), "configuration key \"" + key.key +
                                       "\" is reserved: the host understands it in every section");
  }
  key.type = in.text(table, "type", true);
  key.doc = in.text(table, "doc", true);
  if (std::any_of(key.doc.begin(), key.doc.end(), [](char c) { return c >= 0 && c < ' '; })) {
    in.complain(*table.get("doc"), "\"doc\" must be one line");
  }
  if (std::find(std::begin(kConfigTypes), std::end(kConfigTypes), key.type) ==
      std::end(kConfigTypes)) {
    in.complain(table, "configuration key \"" + key.key + "\" has the unknown type \"" + key.type +
                           "\"; use string, integer, boolean, float, duration, list or table");
  } else if (const toml::node* value = table.get("default"); value == nullptr) {
    key.default_json = zero_of(key.type);
  } else if (!has_type(*value, key.type)) {
    in.complain(*value,
                "the default of configuration key \"" + key.key + "\" is not a " + key.type);
  } else if (!is_plain(*value)) {
    in.complain(*value, "the default of configuration key \"" + key.key +
                            "\" has a date or a number that is not finite, which JSON has not");
  } else if (key.type == "duration" && !value->as_string()->get().empty() &&
             !parse_duration(value->as_string()->get())) {
    in.complain(*value, "the default of configuration key \"" + key.key + "\" is \"" +
                            value->as_string()->get() +
                            "\", which is not a duration such as \"150ms\" or \"2h45m\"");
  } else {
    key.default_json = to_json(*value).dump();
  }
  return key;
}

Plugin read_plugin(Reader& in, const toml::table& table) {
  in.known_keys(table, {"type", "id", "version", "provides", "platforms", "capabilities", "aliases",
                        "client_facing", "optional", "multiple", "config_version", "requires",
                        "config", "needs"});
  Plugin plugin;
  plugin.type = in.identifier(table, "type");
  plugin.id = in.identifier(table, "id");
  if (auto version = Version::parse(in.text(table, "version", true)); version.ok()) {
    plugin.version = *version;
  } else if (table.contains("version")) {
    in.complain(*table.get("version"), version.status().message());
  }
  plugin.provides = in.texts(table, "provides");
  plugin.platforms = in.texts(table, "platforms");
  plugin.capabilities = in.texts(table, "capabilities");
  plugin.aliases = in.texts(table, "aliases");
  for (const std::string& alias : plugin.aliases) {
    if (!is_identifier(alias)) in.complain_identifier(*table.get("aliases"), "aliases", alias);
  }
  for (const std::string& service : plugin.provides) {
    if (!is_word(service, "._")) {
      in.complain(*table.get("provides"), "\"provides\" has \"" + service +
                                              "\"; write a protobuf service with its package");
    }
  }
  plugin.client_facing = in.flag(table, "client_facing");
  plugin.optional = in.flag(table, "optional");
  plugin.multiple = in.flag(table, "multiple");
  plugin.config_version = in.number(table, "config_version", 1);
  std::set<std::string> names;
  in.tables(table, "requires", [&](const toml::table& one) {
    plugin.requires_.push_back(read_requirement(in, one));
    const std::string& name = plugin.requires_.back().name;
    if (!names.insert(name).second) in.complain(one, "two requirements are named \"" + name + "\"");
  });
  std::set<std::string> keys;
  in.tables(table, "config", [&](const toml::table& one) {
    plugin.config.push_back(read_config_key(in, one));
    const std::string& key = plugin.config.back().key;
    if (!keys.insert(key).second) {
      in.complain(one, "the configuration key \"" + key + "\" is declared twice");
    }
    if (names.contains(key)) {
      in.complain(one, "the configuration key \"" + key +
                           "\" is also the name of a requirement, for which it would choose");
    }
  });
  if (const toml::node* node = table.get("needs"); node != nullptr) {
    if (const toml::table* needs = node->as_table(); needs != nullptr) {
      in.known_keys(*needs, {"binaries", "kernel", "capabilities"});
      plugin.needs_binaries = in.texts(*needs, "binaries");
      plugin.needs_kernel = in.texts(*needs, "kernel");
      plugin.needs_capabilities = in.texts(*needs, "capabilities");
    } else {
      in.complain(*node, "\"needs\" must be a table");
    }
  }
  return plugin;
}

}  // namespace

Result<Manifest> parse_manifest(std::string_view text, const std::string& file) {
  BERTH_ASSIGN_OR_RETURN(const toml::table document, parse_toml(text, file, kMaxManifestBytes));
  Reader in(file);
  in.known_keys(document, {"manifest", "abi", "vendor", "license", "url", "plugin"});
  Manifest manifest;
  manifest.file = file;
  if (const int64_t schema = in.number(document, "manifest", 0); schema != 1) {
    in.complain(document, "\"manifest\" is " + std::to_string(schema) +
                              "; this host reads schema 1: upgrade berth, or write manifest = 1");
  }
  if (const toml::table* abi = document["abi"].as_table(); abi != nullptr) {
    in.known_keys(*abi, {"major", "minor"});
    for (const char* part : {"major", "minor"}) {
      if (!abi->contains(part)) in.complain(*abi, "\"" + std::string(part) + "\" is missing");
    }
    manifest.abi_major = static_cast<uint32_t>(in.number(*abi, "major", 0));
    manifest.abi_minor = static_cast<uint32_t>(in.number(*abi, "minor", 0));
  } else {
    in.complain(document, "\"abi\" is missing; write abi = { major = 0, minor = 1 }");
  }
  manifest.vendor = in.text(document, "vendor", false);
  manifest.license = in.text(document, "license", false);
  manifest.url = in.text(document, "url", false);
  std::set<std::string> uris;
  in.tables(document, "plugin", [&](const toml::table& table) {
    manifest.plugins.push_back(read_plugin(in, table));
    const std::string uri = manifest.plugins.back().uri();
    if (!uris.insert(uri).second) in.complain(table, "plugin " + uri + " is declared twice");
  });
  if (manifest.plugins.empty()) in.complain(document, "there is no [[plugin]]");
  if (!in.errors().empty()) return invalid_argument(in.errors());
  return manifest;
}

Result<Manifest> read_manifest(const std::string& file) {
  BERTH_ASSIGN_OR_RETURN(const std::string text, read_manifest_note(file));
  return parse_manifest(text, file);
}

}  // namespace berth::manifest
