// The last words of a process that crashes.
#pragma once

namespace berth::ops {

/// From now on SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT write one line to stderr that names the
/// plugin whose code ran on the thread (bus/current_plugin.h), then end the process as they would
/// have done. For a plugin that shares the host's process this is all that the host can do about a
/// crash. `program` and `advice` are part of the line and live for ever.
void name_plugin_on_crash(
    const char* program = "berthd",
    const char* advice = "berthd ends; tell the plugin's vendor, or name it in disabled_plugins");

}  // namespace berth::ops
