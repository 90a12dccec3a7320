// The merged TOML document behind Config; internal to this folder.
#pragma once

#include <toml++/toml.h>

#include "config/config.h"

namespace berth::config {

struct Config::Document {
  toml::table root;
};

/// Whether a value is of a type as manifests and the schema name them.
bool has_type(const toml::node& node, std::string_view type);

/// "FILE:LINE" of a value, or "command line" or "default".
std::string origin_of(const toml::node& node);

Diagnostic diagnostic_at(const toml::node& node, std::string text);

/// Reads `file` and its imports into one table; whatever is wrong beyond syntax goes to
/// `diagnostics`.
Result<toml::table> load_merged(const std::string& file, std::vector<Diagnostic>* diagnostics);

/// Moves what version 4 writes as sections of server plugins
/// ([plugins."io.containerd.server.v1.grpc"] and the like) to the host's own sections, where it
/// wins. A no-op for older versions, which have none.
void move_server_sections(toml::table& root);

/// Reports keys of the host's sections that do not exist, have no effect, another type or another
/// form.
void check_host_sections(const toml::table& root, std::vector<Diagnostic>* diagnostics);

/// Gives every key of the host that is absent or ill-typed its default, which has no origin.
void add_defaults(toml::table& root);

/// The section of a plugin in [plugins], by URI or by an alias; nullptr when there is none.
const toml::table* section_of(const toml::table& root, const manifest::Plugin& plugin);

/// Where a plugin with that section runs. `where`: the section, for diagnostics.
Placement placement_of(const toml::table* section, const std::string& where,
                       std::vector<Diagnostic>* diagnostics);

}  // namespace berth::config
