// What may stand in an event's envelope, by containerd's rules.
#pragma once

#include <berth/status.h>

#include <string_view>

namespace berth::events {

/// Letters and digits, joined by single dots, dashes or underscores; at most 76 bytes.
/// INVALID_ARGUMENT otherwise.
Status validate_identifier(std::string_view text);

/// "/" and identifiers joined by "/", such as /tasks/exit. INVALID_ARGUMENT otherwise.
Status validate_topic(std::string_view topic);

}  // namespace berth::events
