// config.toml in containerd's layout: loading, checking, printing. Knows no plugin by name.
#pragma once

#include <berth/status.h>

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "manifest/manifest.h"

namespace berth::config {

/// Something about the configuration that its author should know. Under --strict and for `config
/// check` all of them are errors.
struct Diagnostic {
  std::string file;
  uint32_t line = 0;
  std::string text;
  std::string to_string() const;
};

struct Listener {
  std::string address;
  uint32_t uid = 0;
  uint32_t gid = 0;
};

struct ProxyPlugin {
  std::string id, type, address, platform;
  std::string
      ns;  // of all calls, when the other program has namespaces of its own; empty: the caller's
  std::vector<std::string> capabilities;
  std::string file;  // and line: where it is configured
  uint32_t line = 0;
};

/// The values of the host's own sections, defaults filled in.
struct Values {
  std::string root, state, temp;
  std::vector<std::string> plugin_dirs;
  Listener grpc, ttrpc;
  int max_receive_bytes = 16 << 20;
  int max_send_bytes = 16 << 20;
  std::string log_level, log_format;
  std::string metrics_address;
  std::vector<std::string> disabled_plugins, required_plugins;
  std::vector<ProxyPlugin> proxy_plugins;
  std::string cgroup_path;
  int64_t oom_score = 0;
};

/// Where a plugin runs, and what holds for it there.
struct Placement {
  bool process = false;     // in one of its own
  uint64_t memory_max = 0;  // bytes; 0: no limit
  std::chrono::nanoseconds hang_timeout = std::chrono::seconds(30);
  std::chrono::nanoseconds start_timeout = std::chrono::seconds(60);
};

/// What the command line says; absent values come from the file.
struct Overrides {
  std::optional<std::string> root, state, address, log_level, plugin_dir;
};

/// The merged document: every value with its origin. Immutable once loaded; any thread.
class Config {
 public:
  /// Reads `file` ("": defaults alone) and its imports. A file that cannot be read, and TOML that
  /// cannot be parsed, are errors naming file and line; everything else that is wrong becomes a
  /// diagnostic.
  static Result<Config> load(const std::string& file, const Overrides& overrides);

  Config(Config&&) noexcept;
  Config& operator=(Config&&) noexcept;
  ~Config();

  const Values& values() const { return values_; }
  const std::vector<Diagnostic>& diagnostics() const { return diagnostics_; }
  /// Neither file nor command line says where plugins are.
  bool plugin_dir_is_default() const;

  /// The effective configuration of one plugin as a JSON object: its section (or one named by an
  /// alias) over its manifest's defaults. Unknown and ill-typed keys, and what is wrong with its
  /// placement, go to `diagnostics`.
  std::string plugin_json(const manifest::Plugin& plugin,
                          std::vector<Diagnostic>* diagnostics) const;
  Placement placement(const manifest::Plugin& plugin) const;
  /// Sections of [plugins] that belong to none of `plugins`.
  std::vector<Diagnostic> unknown_sections(const std::vector<manifest::Plugin>& plugins) const;
  /// Which provider a plugin's section names for a requirement; empty when it names none.
  std::string choice(const manifest::Plugin& plugin, const std::string& requirement) const;

  /// The configuration in force as TOML; with `origin` each value is followed by whence it came.
  std::string dump(const std::vector<manifest::Plugin>& plugins, bool origin) const;

 private:
  struct Document;
  Config();
  std::unique_ptr<Document> document_;
  Values values_;
  std::vector<Diagnostic> diagnostics_;
};

/// A documented file of all keys and their defaults.
std::string default_text(const std::vector<manifest::Plugin>& plugins);

}  // namespace berth::config
