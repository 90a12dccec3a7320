// berth-plugin-run: command line.
#include <grp.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "linked_run.h"
#include "plugin_run.h"
#include "plugin_run_command.h"

namespace {

constexpr int kWrongUse = 2;

int fail(const berth::Status& status) {
  std::fprintf(stderr, "berth-plugin-run: %s\n", status.message().c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app;
  berth::plugin_run::CommandLine line;
  berth::plugin_run::add_command_line(app, &line);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kWrongUse;
  }
  if (line.link >= 0) {
    return fail(berth::plugin_run::run_linked({line.file, line.plugin, line.link, line.parent}));
  }
  if (line.listen.empty() || line.root.empty()) {
    return fail(berth::invalid_argument("--listen SOCKET and --root DIRECTORY are needed"));
  }
  berth::plugin_run::Options options;
  options.file = line.file;
  options.uri = line.plugin;
  options.config_file = line.config_file;
  options.listen = line.listen;
  options.overrides.root = line.root;
  options.overrides.state = line.state.empty() ? line.listen + ".state" : line.state;
  if (!line.log_level.empty()) options.overrides.log_level = line.log_level;
  options.gid = ::getegid();
  if (!line.group.empty()) {
    const auto* const found = ::getgrnam(line.group.c_str());
    if (found == nullptr) {
      return fail(
          berth::not_found("there is no group " + line.group + "; make it or name another one"));
    }
    options.gid = found->gr_gid;
  }
  const berth::Status status = berth::plugin_run::run(options);
  return status.ok() ? 0 : fail(status);
}
