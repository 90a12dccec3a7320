#include "command_line.h"

#include "builtin/version.h"

namespace berth {

void add_command_line(CLI::App& app, CommandLine* out) {
  app.description("berthd: a container daemon made of plugins");
  app.set_version_flag("--version,-v", "berthd " + std::string(builtin::version()) + " " +
                                           std::string(builtin::revision()));
  app.add_option("--config,-c", out->config_file,
                 "configuration file (default: /etc/berth/config.toml if there is one; none in a "
                 "build folder)");
  app.add_option("--address,-a", out->address, "unix socket to serve on");
  app.add_option("--root", out->root, "directory of what survives a reboot");
  app.add_option("--state", out->state, "directory of what does not");
  app.add_option("--plugin-dir", out->plugin_dir, "directory of plugins");
  app.add_option("--log-level,-l", out->log_level, "trace, debug, info, warn or error");
  app.add_flag("--strict", out->strict,
               "refuse to start on anything that is wrong with configuration or plugins");
  app.require_subcommand(0, 1);
  out->config = app.add_subcommand("config", "show or check the configuration");
  out->config->require_subcommand(1);
  out->config_default =
      out->config->add_subcommand("default", "print a documented file of all defaults");
  out->config_dump = out->config->add_subcommand("dump", "print the configuration in force");
  out->config_check = out->config->add_subcommand(
      "check", "report everything that is wrong; exit 1 if anything is");
  out->config_dump->add_flag("--origin", out->origin, "say where each value comes from");
  for (CLI::App* command : {out->config, out->config_default, out->config_dump, out->config_check})
    command->fallthrough();
}

}  // namespace berth
