// Parsing TOML that nobody has looked at yet.
#pragma once

#include <berth/status.h>
#include <toml++/toml.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace berth::manifest {

/// Tables and lists may be nested this deep, and a key may have this many parts.
inline constexpr size_t kMaxTomlDepth = 64;

/// The document; its values know `file` and their line. INVALID_ARGUMENT "FILE:LINE: …" when it is
/// not TOML, is larger than `limit` bytes or nested too deeply (the parser's own limit does not
/// count the parts of dotted keys, and a tree is destroyed recursively). Pure; any thread.
Result<toml::table> parse_toml(std::string_view text, const std::string& file, size_t limit);

/// A duration as Go writes it ("1h2m3.5s", "100ms", "-1.5h", "0"); nullopt when it is none, or
/// beyond 292 years.
std::optional<std::chrono::nanoseconds> parse_duration(std::string_view text);

}  // namespace berth::manifest
