#include "compare.h"

#include "changes.h"
#include "compress.h"
#include "layer_writer.h"

namespace berth::diff_walking {
namespace {

/// The upper directory of `right`, when the lower ones are exactly what `left` shows.
std::optional<OverlayLayers> overlay_on(const std::vector<Mount>& left,
                                        const std::vector<Mount>& right) {
  if (left.size() != 1 || right.size() != 1) return std::nullopt;
  const Mount& below = left[0];
  const Mount& above = right[0];
  if (!below.target.empty() || !above.target.empty() || above.type != "overlay") {
    return std::nullopt;
  }
  OverlayLayers layers = overlay_layers(above.options);
  if (layers.upper.empty() || layers.lower.empty()) return std::nullopt;
  if (below.type == "overlay") {
    const OverlayLayers lower = overlay_layers(below.options);
    if (!lower.upper.empty() || lower.lower != layers.lower) return std::nullopt;
    return layers;
  }
  const bool bind = below.type == "bind" || below.type == "rbind";
  if (!bind || layers.lower.size() != 1 || layers.lower[0] != below.source) return std::nullopt;
  return layers;
}

/// Runs one comparison through archive, digest and compression into the sink.
template <typename Compare>
Result<StreamSummary> write_layer(const RootDir& upper, const CompareOptions& options,
                                  ByteSink* sink, const Compare& compare) {
  DigestingSink blob(sink);
  const std::unique_ptr<Compressor> compressor = make_compressor(options.compression, &blob);
  DigestingSink layer(compressor.get());
  LayerWriter writer(&upper, &layer, options.latest);
  BERTH_RETURN_IF_ERROR(compare(&writer));
  BERTH_RETURN_IF_ERROR(writer.finish());
  BERTH_RETURN_IF_ERROR(compressor->finish());
  return StreamSummary{layer.digest(), layer.size(), blob.digest(), blob.size()};
}

}  // namespace

Result<StreamSummary> compare_mounts(const std::vector<Mount>& left,
                                     const std::vector<Mount>& right, const CompareOptions& options,
                                     const OpenSink& open_sink) {
  // Without a parent there is nothing to compare with, and everything is new.
  std::optional<MountedTree> lower;
  std::string empty;
  const Cleanup remove_empty([&] {
    if (!empty.empty()) ::rmdir(empty.c_str());
  });
  std::optional<RootDir> nothing;
  if (left.empty()) {
    empty = options.temp_dir + "/berth-empty-XXXXXX";
    if (::mkdtemp(empty.data()) == nullptr) {
      const int error = errno;
      empty.clear();
      return errno_status(error, "make an empty directory in " + options.temp_dir);
    }
    BERTH_ASSIGN_OR_RETURN(nothing, RootDir::open(empty));
  } else {
    BERTH_ASSIGN_OR_RETURN(MountedTree mounted,
                           MountedTree::mount(read_only_mounts(left), options.temp_dir));
    lower.emplace(std::move(mounted));
  }
  const RootDir& below = lower ? lower->root() : *nothing;

  if (const std::optional<OverlayLayers> layers = overlay_on(left, right)) {
    BERTH_ASSIGN_OR_RETURN(const RootDir upper, RootDir::open(layers->upper));
    BERTH_ASSIGN_OR_RETURN(ByteSink * sink, open_sink());
    Result<StreamSummary> summary = write_layer(upper, options, sink, [&](ChangeSink* changes) {
      return compare_upper_dir(below, upper, layers->user_xattr, changes);
    });
    if (summary.ok() || summary.status().code() != Code::kFailedPrecondition) return summary;
  }
  BERTH_ASSIGN_OR_RETURN(const MountedTree upper,
                         MountedTree::mount(read_only_mounts(right), options.temp_dir));
  BERTH_ASSIGN_OR_RETURN(ByteSink * sink, open_sink());
  return write_layer(upper.root(), options, sink, [&](ChangeSink* changes) {
    return compare_trees(below, upper.root(), changes);
  });
}

}  // namespace berth::diff_walking
