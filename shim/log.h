// The shim's log: lines as containerd's daemons expect them, into the fifo "log" of the bundle.
#pragma once

#include <string_view>

namespace berth::shim {

enum class Level { kDebug, kInfo, kWarning, kError };

/// Opens the fifo in the working directory; without one, or with nobody who reads it, lines are
/// dropped. Once, before other threads exist.
void open_log(std::string_view ns, std::string_view id, bool debug);

/// Never blocks: a line that does not fit into the fifo is dropped. Any thread.
void log(Level level, std::string_view message);

}  // namespace berth::shim
