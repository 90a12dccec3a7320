// berth-plugin-run: command line.
#include <grp.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "builtin/version.h"
#include "plugin_run.h"

int main(int argc, char** argv) {
  CLI::App app{"berth-plugin-run: one plugin of berthd by itself, for other daemons"};
  berth::plugin_run::Options options;
  std::string root, state, log_level, group;
  app.set_version_flag("--version,-v",
                       "berth-plugin-run " + std::string(berth::builtin::version()));
  app.add_option("file", options.file, "the plugin's shared object")->required();
  app.add_option("--listen", options.listen, "unix socket to serve on")->required();
  app.add_option("--plugin", options.uri,
                 "which plugin of the file, as TYPE.ID; needed when it has several");
  app.add_option("--config,-c", options.config_file,
                 "configuration as berthd's, for [plugins.\"TYPE.ID\"]");
  app.add_option("--root", root, "directory of what survives a reboot")->required();
  app.add_option("--state", state, "directory of what does not (default: beside the socket)");
  app.add_option("--group", group, "group that may use the socket");
  app.add_option("--log-level,-l", log_level, "trace, debug, info, warn or error");
  CLI11_PARSE(app, argc, argv);
  if (state.empty()) state = options.listen + ".state";
  options.overrides.root = root;
  options.overrides.state = state;
  if (!log_level.empty()) options.overrides.log_level = log_level;
  if (!group.empty()) {
    const auto* const found = ::getgrnam(group.c_str());
    if (found == nullptr) {
      std::fprintf(stderr, "berth-plugin-run: there is no group %s; make it or name another one\n",
                   group.c_str());
      return 1;
    }
    options.gid = found->gr_gid;
  }
  const berth::Status status = berth::plugin_run::run(options);
  if (status.ok()) return 0;
  std::fprintf(stderr, "berth-plugin-run: %s\n", status.message().c_str());
  return 1;
}
