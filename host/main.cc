// berthd: command line.
#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>

#include "builtin/builtins.h"
#include "command_line.h"
#include "config/config.h"
#include "daemon.h"
#include "lifecycle/discover.h"
#include "lifecycle/plugin_set.h"
#include "ops/crash.h"
#include "ops/memory.h"
#include "rpc/router.h"

namespace {

namespace fs = std::filesystem;

constexpr int kWrongUse = 2;
constexpr const char* kDefaultConfig = "/etc/berth/config.toml";

/// Descriptors inherited from the caller must not travel to shims and containers.
void close_inherited_descriptors() {
  ::syscall(SYS_close_range, 3U, ~0U, 0U);
  // 0, 1 and 2 must be taken, or the first files opened would become them.
  while (true) {
    const int fd = ::open("/dev/null", O_RDWR);
    if (fd > 2) {
      ::close(fd);
      return;
    }
    if (fd < 0) return;
  }
}

/// The build folder that this program is in, or nothing when it is installed. What it belongs to
/// decides where its plugins and its configuration are: a build has its own plugins, and is not
/// configured by the files of what is installed on the same machine.
std::optional<fs::path> build_folder() {
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  fs::path folder = self.parent_path().parent_path();
  if (!fs::exists(folder / "CMakeCache.txt", error)) return std::nullopt;
  return folder;
}

std::optional<std::string> plugins_of(const fs::path& build) {
  std::error_code error;
  const fs::path plugins = build / "plugins";
  if (!fs::is_directory(plugins, error)) return std::nullopt;
  return plugins.string();
}

int fail(const berth::Status& status) {
  std::fprintf(stderr, "berthd: %s\n", status.message().c_str());
  return 1;
}

std::vector<berth::manifest::Plugin> installed_plugins(const berth::config::Config& config) {
  std::vector<berth::manifest::Plugin> plugins;
  auto found = berth::lifecycle::discover(config.values().plugin_dirs, false);
  for (auto& candidate : found.candidates) plugins.push_back(std::move(candidate.plugin));
  return plugins;
}

/// Everything that can be known without running code of a plugin: the files, the manifests, the
/// graph.
int check_config(const berth::config::Config& config) {
  // Lives as long as the process, as in the daemon: the host's own services are part of the graph
  // and point to it.
  const auto& facts = *new berth::abi::HostFacts{};
  auto& plugins = *new berth::lifecycle::PluginSet(config, facts);
  const auto& router = *new berth::rpc::Router;
  std::vector<berth::config::Diagnostic> diagnostics = config.diagnostics();
  plugins.resolve(berth::builtin::make_builtins(plugins, router, config, &diagnostics).services,
                  &diagnostics);
  const auto problems = plugins.problems();
  for (const auto& one : diagnostics) std::fprintf(stderr, "%s\n", one.to_string().c_str());
  for (const auto& problem : problems) std::fprintf(stderr, "%s\n", problem.c_str());
  return diagnostics.empty() && problems.empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  close_inherited_descriptors();
  berth::ops::keep_heap_in_one_place();

  CLI::App app;
  berth::CommandLine line;
  berth::add_command_line(app, &line);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kWrongUse;
  }

  const auto given = [](const std::string& text) {
    return text.empty() ? std::nullopt : std::optional(text);
  };
  berth::DaemonOptions options;
  options.config_file = line.config_file;
  options.strict = line.strict;
  options.overrides = {given(line.root), given(line.state), given(line.address),
                       given(line.log_level), given(line.plugin_dir)};
  const std::optional<fs::path> build = build_folder();
  std::error_code error;
  if (options.config_file.empty() && !build && fs::exists(kDefaultConfig, error))
    options.config_file = kDefaultConfig;

  if (build && !options.overrides.plugin_dir) {
    const auto config = berth::config::Config::load(options.config_file, options.overrides);
    if (config.ok() && config->plugin_dir_is_default())
      options.overrides.plugin_dir = plugins_of(*build);
  }
  if (line.config->parsed()) {
    const auto config = berth::config::Config::load(options.config_file, options.overrides);
    if (!config.ok()) return fail(config.status());
    if (line.config_check->parsed()) return check_config(*config);
    const auto plugins = installed_plugins(*config);
    const std::string text = line.config_default->parsed() ? berth::config::default_text(plugins)
                                                           : config->dump(plugins, line.origin);
    std::fputs(text.c_str(), stdout);
    return 0;
  }
  berth::ops::name_plugin_on_crash();
  const berth::Status status = berth::run_daemon(options);
  const int exit_code = status.ok() ? 0 : fail(status);
  std::fflush(nullptr);
  // Plugins' threads and static objects are left as they are; nothing is lost that was
  // acknowledged.
  ::_exit(exit_code);
}
