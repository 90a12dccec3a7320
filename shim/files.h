// Small files, read and written whole.
#pragma once

#include <berth/fd.h>
#include <berth/status.h>

#include <string>
#include <string_view>

namespace berth::shim {

/// RESOURCE_EXHAUSTED when there is more than `limit`.
Result<std::string> read_file(const std::string& path, size_t limit = 16u << 20);
/// Everything that can be read from `fd` from here on, or its first `limit` bytes.
std::string read_all(int fd, size_t limit = 4u << 20);
/// Replaces the file's content; a new file gets `mode`.
Status write_file(const std::string& path, std::string_view content, unsigned mode = 0644);
/// A file without a name that holds `content`, at its beginning.
Result<UniqueFd> memory_file(const char* name, std::string_view content = {});

void set_nonblocking(int fd);

}  // namespace berth::shim
