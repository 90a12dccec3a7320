// Callbacks that run on the thread that made them due, one after another and never nested.
#pragma once

#include <functional>

namespace berth::bus {

/// Runs `callback` now, or, when the current thread is inside such a callback already, after that
/// one has returned: a ping-pong of any length uses the stack of one turn (ABI rule 7). The thread
/// counts as an event thread meanwhile.
void run_inline(std::function<void()> callback);

}  // namespace berth::bus
