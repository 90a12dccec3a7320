// The last words of a process that crashes.
#pragma once

namespace berth::ops {

/// From now on SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT write one line to stderr that names the
/// plugin whose code ran on the thread (bus/current_plugin.h), then end the process as they would
/// have done. Plugins share the host's process, so this is all that the host can do about a plugin
/// that crashes.
void name_plugin_on_crash();

}  // namespace berth::ops
