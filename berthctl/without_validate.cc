// Stands in for validate/ in a build without GoogleTest, of which its cases are made.
#include <cstdio>

#include "command.h"

namespace berth::ctl {
namespace {

struct Options {
  const char* command;
};

int run(const Options& options) {
  std::fprintf(stderr,
               "berthctl: %s is not part of this build, which was made without GoogleTest; "
               "install libgtest-dev and build berthctl again\n",
               options.command);
  return kNo;
}

void add(CLI::App& parent, Action* action, const char* name) {
  CLI::App* command = parent.add_subcommand("validate", "not part of this build");
  command->allow_extras();
  on_chosen(command, action, std::make_shared<Options>(Options{name}), run);
}

}  // namespace

void add_validate(CLI::App& plugin, Action* action) { add(plugin, action, "plugin validate"); }

void add_shim_validate(CLI::App& shim, Action* action) { add(shim, action, "shim validate"); }

}  // namespace berth::ctl
