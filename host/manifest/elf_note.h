// Reading a plugin's manifest out of its shared object without running a line of it.
#pragma once

#include <berth/status.h>

#include <string>
#include <string_view>

namespace berth::manifest {

/// Largest manifest that is read, in bytes.
inline constexpr uint64_t kMaxManifestBytes = 1 << 20;

/// The descriptor of the note "Berth" of type 1 in a 64-bit little-endian ELF image; NOT_FOUND when
/// there is none, INVALID_ARGUMENT when the image is not such an ELF or lies about its sizes. The
/// result borrows from `image`.
Result<std::string_view> find_manifest_note(std::string_view image);

/// The same of a file, which is mapped, not loaded. Messages name the file.
Result<std::string> read_manifest_note(const std::string& file);

}  // namespace berth::manifest
