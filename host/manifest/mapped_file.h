// A file as bytes, mapped and not loaded: none of its code runs.
#pragma once

#include <berth/status.h>

#include <string>
#include <string_view>
#include <utility>

namespace berth::manifest {

/// A regular file, read-only in memory as long as this lives. A file that shrinks meanwhile gives
/// SIGBUS, so give it only files that nobody writes in place.
class MappedFile {
 public:
  /// INVALID_ARGUMENT for what is no regular file with content; `attempt` begins all messages.
  static Result<MappedFile> open(const std::string& file, const std::string& attempt);
  MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~MappedFile();

  std::string_view bytes() const { return bytes_; }

 private:
  explicit MappedFile(std::string_view bytes) : bytes_(bytes) {}
  std::string_view bytes_;
};

}  // namespace berth::manifest
