// plugin.toml: what a plugin is, provides and needs. The schema is docs/formats/plugin-manifest.md.
#pragma once

#include <berth/status.h>

#include <string>
#include <string_view>
#include <vector>

#include "manifest/version.h"

namespace berth::manifest {

enum class Cardinality { kOne, kOptional, kAll };

struct Requirement {
  std::string name;  // what the plugin calls it when it connects
  std::string type;  // plugin type
  std::string id = "*";
  std::string service;  // empty: any
  VersionRange version;
  Cardinality cardinality = Cardinality::kOne;
  bool order_only = false;
};

struct ConfigKey {
  std::string key;
  std::string type;          // string | integer | boolean | float | duration | list | table
  std::string default_json;  // the default as JSON
  std::string doc;
};

struct Plugin {
  std::string type;
  std::string id;
  Version version;
  std::vector<std::string> provides;
  std::vector<std::string> platforms;
  std::vector<std::string> capabilities;
  std::vector<std::string> aliases;
  bool client_facing = false;  // its services are served to clients
  bool optional = false;       // the daemon is ready without it
  bool multiple = false;       // config may ask for several, each with an id of its own
  int64_t config_version = 1;
  std::vector<Requirement> requires_;
  std::vector<ConfigKey> config;
  std::vector<std::string> needs_binaries, needs_kernel, needs_capabilities;

  std::string uri() const { return type + "." + id; }
};

struct Manifest {
  std::string file;  // whence it came, for messages
  uint32_t abi_major = 0;
  uint32_t abi_minor = 0;
  std::string vendor, license, url;
  std::vector<Plugin> plugins;
};

/// Reads a manifest. On failure INVALID_ARGUMENT with all that is wrong, one line each: "FILE:LINE:
/// …". Unknown keys are wrong, too. Pure; any thread.
Result<Manifest> parse_manifest(std::string_view text, const std::string& file);

/// The manifest of a shared object; runs none of its code.
Result<Manifest> read_manifest(const std::string& file);

}  // namespace berth::manifest
