// berthctl: the command of those who write and ship plugins, and of who runs them.
#include "builtin/version.h"
#include "command.h"

namespace {

void describe(CLI::App& app, berth::ctl::Action* action);

/// The table alone, to be read and not parsed.
void table(CLI::App& app) {
  static berth::ctl::Action unused;
  describe(app, &unused);
}

void describe(CLI::App& app, berth::ctl::Action* action) {
  app.description("berthctl: look at plugins of berthd, make them and test them");
  app.set_version_flag("--version,-v", "berthctl " + std::string(berth::builtin::version()) + " " +
                                           std::string(berth::builtin::revision()));
  app.require_subcommand(1);
  berth::ctl::add_docs(app, action, table);
  berth::ctl::add_call(app, action);
  CLI::App* plugin = app.add_subcommand("plugin", "look at plugins, make them, test them");
  plugin->require_subcommand(1);
  berth::ctl::add_inspect(*plugin, action);
  berth::ctl::add_graph(*plugin, action);
  berth::ctl::add_new(*plugin, action);
  berth::ctl::add_validate(*plugin, action);
  berth::ctl::add_why(*plugin, action);
  CLI::App* shim = app.add_subcommand("shim", "test programs that run containers for a daemon");
  shim->require_subcommand(1);
  berth::ctl::add_shim_validate(*shim, action);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app;
  berth::ctl::Action action;
  describe(app, &action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::RequiredError& error) {
    // The parser misses the subcommand before it looks at the word that is in its place.
    const auto unknown = app.remaining(true);
    if (unknown.empty()) return app.exit(error) == 0 ? 0 : berth::ctl::kWrongUse;
    std::fprintf(stderr, "berthctl: there is no command \"%s\"; see --help\n",
                 unknown.front().c_str());
    return berth::ctl::kWrongUse;
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : berth::ctl::kWrongUse;
  }
  return action();
}
