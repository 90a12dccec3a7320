// Stands in for validate/ in a build without GoogleTest, of which its cases are made.
#include <cstdio>

#include "command.h"

namespace berth::ctl {
namespace {

struct Options {};

int run(const Options&) {
  std::fputs(
      "berthctl: plugin validate is not part of this build, which was made without GoogleTest; "
      "install libgtest-dev and build berthctl again\n",
      stderr);
  return kNo;
}

}  // namespace

void add_validate(CLI::App& plugin, Action* action) {
  CLI::App* command = plugin.add_subcommand("validate", "not part of this build");
  command->allow_extras();
  on_chosen(command, action, std::make_shared<Options>(), run);
}

}  // namespace berth::ctl
