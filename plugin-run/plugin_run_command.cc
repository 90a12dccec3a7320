#include "plugin_run_command.h"

#include "builtin/version.h"

namespace berth::plugin_run {

void add_command_line(CLI::App& app, CommandLine* out) {
  app.description("berth-plugin-run: one plugin of berthd by itself, for other daemons");
  app.set_version_flag("--version,-v",
                       "berth-plugin-run " + std::string(berth::builtin::version()));
  app.add_option("file", out->file, "the plugin's shared object")->required();
  auto* const listen = app.add_option("--listen", out->listen, "unix socket to serve on");
  app.add_option("--plugin", out->plugin,
                 "which plugin of the file, as TYPE.ID; needed when it has several");
  app.add_option("--config,-c", out->config_file,
                 "configuration as berthd's, for [plugins.\"TYPE.ID\"]");
  app.add_option("--root", out->root, "directory of what survives a reboot; with --listen");
  app.add_option("--state", out->state, "directory of what does not (default: beside the socket)");
  app.add_option("--group", out->group, "group that may use the socket");
  app.add_option("--log-level,-l", out->log_level, "trace, debug, info, warn or error");
  auto* const link = app.add_option(
      "--link", out->link, "descriptor of the link to the berthd that starts this program");
  link->excludes(listen)->group("");
  app.add_option("--parent", out->parent, "pid of that berthd")->group("")->needs(link);
}

}  // namespace berth::plugin_run
