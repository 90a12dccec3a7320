#include "differ.h"

#include <array>
#include <random>

#include "apply.h"
#include "compare.h"
#include "content_blobs.h"

namespace berth::diff_walking {
namespace {

namespace content_api = containerd::services::content::v1;
namespace diff_api = containerd::services::diff::v1;

constexpr std::string_view kLayer = "application/vnd.oci.image.layer.v1.tar";
constexpr std::string_view kUncompressed = "containerd.io/uncompressed";

constexpr std::array<std::string_view, 5> kLayerBases = {
    kLayer,
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
    "application/vnd.docker.container.image.rootfs.diff.tar",
};

std::vector<Mount> mounts_of(
    const google::protobuf::RepeatedPtrField<containerd::types::Mount>& mounts) {
  std::vector<Mount> out;
  for (const containerd::types::Mount& mount : mounts) {
    out.push_back({mount.type(),
                   mount.source(),
                   mount.target(),
                   {mount.options().begin(), mount.options().end()}});
  }
  return out;
}

/// A name for an ingest that nobody else has: time for people, chance for the rest.
std::string unique_ref() {
  std::random_device random;
  return "berth-diff-" + std::to_string(::time(nullptr)) + "-" + std::to_string(random()) +
         std::to_string(random());
}

}  // namespace

bool is_layer_media_type(std::string_view media_type) {
  for (const std::string_view base : kLayerBases) {
    if (!media_type.starts_with(base)) continue;
    const std::string_view suffix = media_type.substr(base.size());
    // OCI writes "+gzip", docker ".gzip".
    if (suffix.empty() || suffix == "+gzip" || suffix == "+zstd" || suffix == ".gzip" ||
        suffix == ".zstd") {
      return true;
    }
  }
  return false;
}

Result<Compression> compression_of_media_type(std::string_view media_type) {
  if (media_type == kLayer) return Compression::kNone;
  if (!media_type.starts_with(kLayer) && !media_type.empty()) {
    return unimplemented("unsupported diff media type: " + std::string(media_type) +
                         ": not implemented");
  }
  const std::string_view suffix = media_type.empty() ? "+gzip" : media_type.substr(kLayer.size());
  if (suffix == "+gzip") return Compression::kGzip;
  if (suffix == "+zstd") return Compression::kZstd;
  return unimplemented("unsupported diff media type: " + std::string(media_type) +
                       ": not implemented");
}

Status Differ::Apply(Context& context, const diff_api::ApplyRequest& request,
                     diff_api::ApplyResponse* response) {
  const containerd::types::Descriptor& descriptor = request.diff();
  if (!is_layer_media_type(descriptor.media_type())) {
    return unimplemented("apply " + descriptor.digest() + ": the media type \"" +
                         descriptor.media_type() +
                         "\" is not that of a layer which this differ can unpack: not implemented");
  }
  if (descriptor.size() < 0) {
    return invalid_argument("apply " + descriptor.digest() + ": the size is negative");
  }
  BERTH_ASSIGN_OR_RETURN(const std::unique_ptr<ByteSource> blob,
                         open_blob(context, content_, descriptor.digest()));
  const BlobIdentity identity{descriptor.digest(), static_cast<uint64_t>(descriptor.size())};
  BERTH_ASSIGN_OR_RETURN(const StreamSummary summary,
                         apply_layer(blob.get(), identity, mounts_of(request.mounts()),
                                     {options_.sync || request.sync_fs(), options_.temp_dir}));
  containerd::types::Descriptor* applied = response->mutable_applied();
  applied->set_media_type(std::string(kLayer));
  applied->set_digest(summary.layer_digest);
  applied->set_size(static_cast<int64_t>(summary.layer_size));
  return {};
}

Status Differ::Diff(Context& context, const diff_api::DiffRequest& request,
                    diff_api::DiffResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const Compression compression,
                         compression_of_media_type(request.media_type()));
  CompareOptions options;
  options.compression = compression;
  options.temp_dir = options_.temp_dir;
  if (request.has_source_date_epoch()) {
    options.latest =
        TarTime{request.source_date_epoch().seconds(), request.source_date_epoch().nanos()};
  }
  const bool own_ref = request.ref().empty();
  const std::string ref = own_ref ? unique_ref() : request.ref();
  std::unique_ptr<BlobWriter> writer;
  const OpenSink open_sink = [&]() -> Result<ByteSink*> {
    if (writer) {
      writer->restart();
    } else {
      BERTH_ASSIGN_OR_RETURN(writer, BlobWriter::open(context, content_, ref));
    }
    return static_cast<ByteSink*>(writer.get());
  };
  std::map<std::string, std::string> labels(request.labels().begin(), request.labels().end());
  const auto write = [&]() -> Result<StreamSummary> {
    BERTH_ASSIGN_OR_RETURN(
        const StreamSummary summary,
        compare_mounts(mounts_of(request.left()), mounts_of(request.right()), options, open_sink));
    if (compression != Compression::kNone) {
      labels[std::string(kUncompressed)] = summary.layer_digest;
    }
    BERTH_RETURN_IF_ERROR(writer->commit(summary.blob_digest, summary.blob_size, labels));
    return summary;
  };
  const Result<StreamSummary> summary = write();
  if (!summary.ok()) {
    const bool begun = writer != nullptr;
    writer.reset();  // lets go of the ingest
    if (begun && own_ref) {
      content_api::AbortRequest abort;
      abort.set_ref(ref);
      google::protobuf::Empty nothing;
      (void)content_.Abort(context.detached(), abort, &nothing);  // the first error says more
    }
    return summary.status().with_context("diff");
  }
  if (compression != Compression::kNone) {
    BERTH_RETURN_IF_ERROR(
        set_uncompressed_label(context, summary->blob_digest, summary->layer_digest));
  }
  containerd::types::Descriptor* diff = response->mutable_diff();
  diff->set_media_type(request.media_type().empty() ? std::string(kLayer) + "+gzip"
                                                    : request.media_type());
  diff->set_digest(summary->blob_digest);
  diff->set_size(static_cast<int64_t>(summary->blob_size));
  return {};
}

/// A blob that was there before may lack the label, without which clients cannot tell its diff id.
Status Differ::set_uncompressed_label(const Context& context, const std::string& blob,
                                      const std::string& layer) {
  content_api::InfoRequest request;
  request.set_digest(blob);
  content_api::InfoResponse found;
  BERTH_RETURN_IF_ERROR(content_.Info(context, request, &found));
  const std::string key(kUncompressed);
  if (found.info().labels().contains(key)) return {};
  content_api::UpdateRequest update;
  update.mutable_info()->set_digest(blob);
  (*update.mutable_info()->mutable_labels())[key] = layer;
  update.mutable_update_mask()->add_paths("labels." + key);
  content_api::UpdateResponse updated;
  return content_.Update(context, update, &updated);
}

}  // namespace berth::diff_walking
