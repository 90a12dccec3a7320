// A blob becomes files: the whole of Diff.Apply but for where the blob comes from.
#pragma once

#include <berth/status.h>

#include <string>
#include <vector>

#include "byte_source.h"
#include "layer_stream.h"
#include "mount.h"

namespace berth::diff_walking {

/// What the caller believes the blob to be.
struct BlobIdentity {
  std::string digest;
  uint64_t size = 0;  // 0: not known
};

struct ApplyOptions {
  /// Flush the file system before success is reported.
  bool sync = true;
  /// An existing directory for mount points.
  std::string temp_dir;
};

/// Unpacks the layer onto the mounts. An overlay with an upper directory and a bind mount are
/// written to directly, without a mount. Blocking; several may run at once on different mounts.
/// Errors: DATA_LOSS when the blob is not what `identity` says; INVALID_ARGUMENT or OUT_OF_RANGE
/// for a bad layer; otherwise the failed system call. After an error the target holds a part of the
/// layer, never anything outside of it.
Result<StreamSummary> apply_layer(ByteSource* blob, const BlobIdentity& identity,
                                  const std::vector<Mount>& mounts, const ApplyOptions& options);

}  // namespace berth::diff_walking
