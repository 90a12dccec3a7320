// Whether anybody is behind a unix socket.
#pragma once

#include <chrono>
#include <string>

namespace berth::ttrpc {

/// Whether a ttrpc server lives behind the socket at `path`. A process that dies ends its
/// connections some time before it gives up the socket on which it listens, so a connection proves
/// nothing: this asks a question, and waits for any answer or for the end. True when neither comes
/// within `patience`, as from a server that is stopped. Blocks; any thread.
bool is_served(const std::string& path,
               std::chrono::milliseconds patience = std::chrono::milliseconds(2000));

/// Removes the socket at `path` unless somebody lives behind it, as is_served() has it.
void remove_dead_socket(const std::string& path);

}  // namespace berth::ttrpc
