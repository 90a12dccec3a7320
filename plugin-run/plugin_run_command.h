// The command table of berth-plugin-run, apart from what it does: man page and completions are made
// from it.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace berth::plugin_run {

/// What the command line says; empty strings were not given.
struct CommandLine {
  std::string file, listen, plugin, config_file, root, state, group, log_level;
  int link = -1;   // given by the berthd that starts this program, and in no help
  int parent = 0;  // its pid
};

/// Adds the options to `app`, to be parsed into `out`.
void add_command_line(CLI::App& app, CommandLine* out);

}  // namespace berth::plugin_run
