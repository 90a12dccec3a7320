// A file as a stream.
#pragma once

#include <berth/fd.h>

#include <memory>
#include <string>

#include "byte_source.h"

namespace berth::diff_walking {

/// Reads an open file from its start to its end with pread; the position of the descriptor does not
/// matter.
class FdSource final : public ByteSource {
 public:
  /// `name` is for messages.
  FdSource(UniqueFd fd, std::string name);
  Result<std::span<const std::byte>> next() override;

 private:
  UniqueFd fd_;
  std::string name_;
  std::unique_ptr<std::byte[]> buffer_;
  uint64_t offset_ = 0;
};

}  // namespace berth::diff_walking
