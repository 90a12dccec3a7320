// berth-plugin-run: command line.
#include <grp.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "plugin_run.h"
#include "plugin_run_command.h"

int main(int argc, char** argv) {
  CLI::App app;
  berth::plugin_run::CommandLine line;
  berth::plugin_run::add_command_line(app, &line);
  CLI11_PARSE(app, argc, argv);
  berth::plugin_run::Options options;
  options.file = line.file;
  options.uri = line.plugin;
  options.config_file = line.config_file;
  options.listen = line.listen;
  options.overrides.root = line.root;
  options.overrides.state = line.state.empty() ? line.listen + ".state" : line.state;
  if (!line.log_level.empty()) options.overrides.log_level = line.log_level;
  if (!line.group.empty()) {
    const auto* const found = ::getgrnam(line.group.c_str());
    if (found == nullptr) {
      std::fprintf(stderr, "berth-plugin-run: there is no group %s; make it or name another one\n",
                   line.group.c_str());
      return 1;
    }
    options.gid = found->gr_gid;
  }
  const berth::Status status = berth::plugin_run::run(options);
  if (status.ok()) return 0;
  std::fprintf(stderr, "berth-plugin-run: %s\n", status.message().c_str());
  return 1;
}
