#include "@ident@.h"

#include <berth/digest.h>

#include <random>

#include "layer.h"
#include "mounted.h"
#include "packing.h"

namespace @ident@_plugin {

namespace {

constexpr const char* kLayer = "application/vnd.oci.image.layer.v1.tar";
constexpr const char* kUncompressed = "containerd.io/uncompressed";  // by which clients know a layer's diff id
constexpr size_t kChunk = 1 << 20;

berth::Status unknown_type(const std::string& media_type) {
  return berth::unimplemented("media type \"" + media_type + "\" is not that of a layer which this differ knows: not implemented");
}

/// Told by the end of the media type: OCI writes "+gzip", docker ".gzip".
std::optional<Packing> packing_of(const std::string& media_type) {
  for (const std::string base : {kLayer, "application/vnd.docker.image.rootfs.diff.tar"}) {
    if (!media_type.starts_with(base)) continue;
    const std::string suffix = media_type.substr(base.size());
    if (suffix.empty()) return Packing::kPlain;
    if (suffix == "+gzip" || suffix == ".gzip") return Packing::kGzip;
    if (suffix == "+zstd" || suffix == ".zstd") return Packing::kZstd;
  }
  return std::nullopt;
}

std::vector<containerd::types::Mount> list(const google::protobuf::RepeatedPtrField<containerd::types::Mount>& mounts) {
  return {mounts.begin(), mounts.end()};
}

}  // namespace

berth::Result<std::string> @Class@::read_blob(const berth::Context& context, const std::string& digest) const {
  content_api::ReadContentRequest request;
  request.set_digest(digest);
  auto reader = content_.Read(context, request);
  std::string bytes;
  content_api::ReadContentResponse response;
  while (reader.Read(&response)) bytes += response.data();
  BERTH_RETURN_IF_ERROR(reader.Finish());
  return bytes;
}

// The layer is in memory: simple first.
berth::Status @Class@::Apply(berth::Context& context, const diff_api::ApplyRequest& request,
                             diff_api::ApplyResponse* response) {
  const auto packing = packing_of(request.diff().media_type());
  if (!packing) return unknown_type(request.diff().media_type());
  BERTH_ASSIGN_OR_RETURN(const berth::Digest digest, berth::Digest::parse(request.diff().digest()));
  BERTH_ASSIGN_OR_RETURN(const std::string blob, read_blob(context, digest.string()));
  if (berth::digest_of(blob, digest.algorithm()) != digest) {
    return berth::data_loss("content " + digest.string() + ": the store gives other bytes");
  }
  BERTH_ASSIGN_OR_RETURN(const std::string layer, unpacked(blob, *packing));
  BERTH_RETURN_IF_ERROR(in_root_of(list(request.mounts()), folder_, [&] { return unpack_here(layer); }));
  response->mutable_applied()->set_media_type(kLayer);
  response->mutable_applied()->set_digest(berth::digest_of(layer).string());
  response->mutable_applied()->set_size(static_cast<int64_t>(layer.size()));
  return {};
}

berth::Status @Class@::store_blob(const berth::Context& context, const std::string& ref, const std::string& blob,
                                  const std::map<std::string, std::string>& labels) const {
  auto stream = content_.Write(context);
  content_api::WriteContentRequest request;
  content_api::WriteContentResponse answer;
  const auto ask = [&]() -> berth::Status {
    if (stream.Write(request) && stream.Read(&answer)) return {};
    const berth::Status ended = stream.Finish();
    return ended.ok() ? berth::internal_error("the content store ended a write early") : ended;
  };
  request.set_ref(ref);
  request.set_action(content_api::WriteAction::WRITE);
  for (size_t at = 0; at < blob.size(); at += kChunk) {
    request.set_offset(static_cast<int64_t>(at));
    request.set_data(blob.substr(at, kChunk));
    BERTH_RETURN_IF_ERROR(ask());
  }
  request.clear_data();
  request.set_action(content_api::WriteAction::COMMIT);
  request.set_offset(static_cast<int64_t>(blob.size()));
  request.set_total(static_cast<int64_t>(blob.size()));
  request.set_expected(berth::digest_of(blob).string());
  request.mutable_labels()->insert(labels.begin(), labels.end());
  const berth::Status committed = ask();
  // The same layer was there; that is what was wanted.
  return committed.code() == berth::Code::kAlreadyExists ? berth::Status() : committed;
}

berth::Status @Class@::Diff(berth::Context& context, const diff_api::DiffRequest& request,
                            diff_api::DiffResponse* response) {
  const std::string media_type = request.media_type().empty() ? std::string(kLayer) + "+gzip" : request.media_type();
  const auto packing = packing_of(media_type);
  if (!packing) return unknown_type(media_type);
  Tree lower;
  BERTH_RETURN_IF_ERROR(in_root_of(list(request.left()), folder_, [&] { return look_at_tree(&lower); }));
  std::string layer;
  BERTH_RETURN_IF_ERROR(
      in_root_of(list(request.right()), folder_, [&] { return pack_changes(lower, &layer); }));
  BERTH_ASSIGN_OR_RETURN(const std::string blob, packed(layer, *packing));
  std::map<std::string, std::string> labels(request.labels().begin(), request.labels().end());
  if (*packing != Packing::kPlain) labels[kUncompressed] = berth::digest_of(layer).string();
  const std::string ref = request.ref().empty() ? "@name@-" + std::to_string(std::random_device()()) : request.ref();
  const berth::Status stored = store_blob(context, ref, blob, labels);
  if (!stored.ok()) {
    if (request.ref().empty()) {  // nobody else knows its name
      content_api::AbortRequest abort;
      google::protobuf::Empty nothing;
      abort.set_ref(ref);
      (void)content_.Abort(context.detached(), abort, &nothing);
    }
    return stored;
  }
  response->mutable_diff()->set_media_type(media_type);
  response->mutable_diff()->set_digest(berth::digest_of(blob).string());
  response->mutable_diff()->set_size(static_cast<int64_t>(blob.size()));
  return {};
}

}  // namespace @ident@_plugin
