// The command table of berthd, apart from what the commands do: man page and completions are made
// from it.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace berth {

/// What the command line says; empty strings were not given.
struct CommandLine {
  std::string config_file, root, state, address, log_level, plugin_dir;
  bool strict = false;
  bool origin = false;
  CLI::App* config = nullptr;  // these live in the parser
  CLI::App* config_default = nullptr;
  CLI::App* config_dump = nullptr;
  CLI::App* config_check = nullptr;
};

/// Adds berthd's options and commands to `app`, to be parsed into `out`.
void add_command_line(CLI::App& app, CommandLine* out);

}  // namespace berth
