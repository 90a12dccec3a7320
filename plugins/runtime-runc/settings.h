// From the plugin's configuration to the runtime's settings.
#pragma once

#include <functional>

#include "runtime.h"

namespace berth::runtime {

/// "150ms", "1.5s", "2h45m", "0": Go's durations, as containerd's users write them.
/// INVALID_ARGUMENT otherwise.
Result<std::chrono::nanoseconds> parse_duration(std::string_view text);

/// Reads settings through `config` (a value as text by its key, lists as JSON, empty when absent)
/// and `property` of the plugin. The program's folder and PATH come from this process.
using Lookup = std::function<std::string_view(std::string_view)>;
Result<RuntimeSettings> read_settings(const Lookup& config, const Lookup& property);

}  // namespace berth::runtime
