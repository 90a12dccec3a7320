#include "apply.h"

#include <unistd.h>

#include <algorithm>
#include <optional>

#include "extractor.h"
#include "root_dir.h"
#include "tar_reader.h"

namespace berth::diff_walking {
namespace {

/// Where to unpack: a directory, and the mount that holds it if there is one.
struct LayerTarget {
  std::optional<MountedTree> mounted;
  std::optional<RootDir> direct;
  ExtractOptions options;
  const RootDir& root() const { return mounted ? mounted->root() : *direct; }
};

Result<LayerTarget> open_target(const std::vector<Mount>& mounts, const std::string& temp_dir) {
  LayerTarget target;
  if (mounts.size() == 1 && mounts[0].target.empty()) {
    const Mount& mount = mounts[0];
    const auto has = [&](std::string_view name) {
      return std::find(mount.options.begin(), mount.options.end(), name) != mount.options.end();
    };
    OverlayLayers layers = overlay_layers(mount.options);
    if (mount.type == "overlay" && !layers.upper.empty() && !in_user_namespace()) {
      BERTH_ASSIGN_OR_RETURN(target.direct, RootDir::open(layers.upper));
      target.options = {Whiteouts::kOverlay, layers.user_xattr, std::move(layers.lower)};
      return target;
    }
    if ((mount.type == "bind" || mount.type == "rbind") && !has("ro")) {
      BERTH_ASSIGN_OR_RETURN(target.direct, RootDir::open(mount.source));
      return target;
    }
  }
  BERTH_ASSIGN_OR_RETURN(MountedTree mounted, MountedTree::mount(mounts, temp_dir));
  target.mounted.emplace(std::move(mounted));
  return target;
}

/// The error of an unpack, or the better one when the blob itself is damaged.
Status explain(const Status& error, const std::optional<StreamSummary>& read,
               const BlobIdentity& identity) {
  const std::string blob = "blob " + identity.digest;
  if (read && read->blob_digest != identity.digest) {
    return data_loss(blob + " is damaged: its " + std::to_string(read->blob_size) +
                     " bytes have the digest " + read->blob_digest +
                     (error.ok() ? std::string() : " (" + error.message() + ")") +
                     "; remove it and fetch it again");
  }
  if (read && identity.size != 0 && read->blob_size != identity.size) {
    return data_loss(blob + " has " + std::to_string(read->blob_size) +
                     " bytes, its descriptor says " + std::to_string(identity.size));
  }
  return error.with_context("apply the layer in " + blob);
}

}  // namespace

Result<StreamSummary> apply_layer(ByteSource* blob, const BlobIdentity& identity,
                                  const std::vector<Mount>& mounts, const ApplyOptions& options) {
  BERTH_ASSIGN_OR_RETURN(const Digest digest, Digest::parse(identity.digest));
  BERTH_ASSIGN_OR_RETURN(LayerTarget target, open_target(mounts, options.temp_dir));
  LayerStream stream(blob, digest.algorithm());
  TarReader archive(&stream);
  Extractor extractor(&target.root(), target.options);
  const Status extracted = extractor.extract(&archive);
  if (!extracted.ok()) return explain(extracted, stream.drain(), identity);
  const Result<StreamSummary> summary = stream.finish();
  if (!summary.ok()) return explain(summary.status(), stream.drain(), identity);
  BERTH_RETURN_IF_ERROR(explain({}, *summary, identity));
  if (options.sync && ::syncfs(target.root().fd()) != 0) {
    return errno_status(errno, "flush the file system of " + target.root().path());
  }
  if (target.mounted) BERTH_RETURN_IF_ERROR(target.mounted->unmount());
  return summary;
}

}  // namespace berth::diff_walking
