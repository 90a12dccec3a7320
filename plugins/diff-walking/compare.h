// The difference of two sets of mounts as a blob: the whole of Diff.Diff but for where the blob
// goes.
#pragma once

#include <berth/status.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "decompress.h"
#include "layer_stream.h"
#include "mount.h"
#include "tar_format.h"

namespace berth::diff_walking {

struct CompareOptions {
  Compression compression = Compression::kGzip;
  /// SOURCE_DATE_EPOCH: no time in the layer is later.
  std::optional<TarTime> latest;
  /// An existing directory for mount points.
  std::string temp_dir;
};

/// Where the blob goes. Asked for once, or a second time when the comparison has to begin anew;
/// what the first one has received is then void.
using OpenSink = std::function<Result<ByteSink*>()>;

/// Writes what `right` has changed against `left`. When `right` is an overlay on top of `left`,
/// only its upper directory is walked. Blocking. Both sides are read-only for this.
Result<StreamSummary> compare_mounts(const std::vector<Mount>& left,
                                     const std::vector<Mount>& right, const CompareOptions& options,
                                     const OpenSink& open_sink);

}  // namespace berth::diff_walking
