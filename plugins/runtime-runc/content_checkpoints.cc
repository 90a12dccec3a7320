#include "content_checkpoints.h"

#include <berth/digest.h>

namespace berth::runtime {

using namespace containerd::services::content::v1;
namespace diff_api = containerd::services::diff::v1;
using containerd::types::Descriptor;

namespace {

// Media types of containerd's clients.
constexpr std::string_view kFiles = "application/vnd.containerd.container.criu.checkpoint.criu.tar";
constexpr std::string_view kSpec =
    "application/vnd.containerd.container.checkpoint.config.v1+proto";
// What the differ knows the same bytes by.
constexpr std::string_view kTar = "application/vnd.oci.image.layer.v1.tar";

containerd::types::Mount bind_mount(const std::string& directory, std::string_view access) {
  containerd::types::Mount mount;
  mount.set_type("bind");
  mount.set_source(directory);
  mount.add_options("rbind");
  mount.add_options(std::string(access));
  return mount;
}

}  // namespace

Result<Descriptor> ContentCheckpoints::put_files(const Context& context,
                                                 const std::string& directory,
                                                 const std::string& ref) {
  diff_api::DiffRequest request;  // from nothing to all that is there
  *request.add_right() = bind_mount(directory, "ro");
  request.set_media_type(std::string(kTar));
  request.set_ref(ref);
  diff_api::DiffResponse response;
  BERTH_RETURN_IF_ERROR(diff_.Diff(context, request, &response));
  Descriptor descriptor = response.diff();
  descriptor.set_media_type(std::string(kFiles));
  return descriptor;
}

Result<Descriptor> ContentCheckpoints::put_spec(const Context& context, std::string_view spec,
                                                const std::string& ref) {
  Descriptor descriptor;
  descriptor.set_media_type(std::string(kSpec));
  descriptor.set_size(static_cast<int64_t>(spec.size()));
  descriptor.set_digest(digest_of(spec).string());

  WriteContentRequest request;
  request.set_action(WriteAction::COMMIT);
  request.set_ref(ref);
  request.set_total(descriptor.size());
  request.set_expected(descriptor.digest());
  request.set_data(std::string(spec));
  auto stream = content_.Write(context);
  WriteContentResponse response;
  const bool answered = stream.Write(request) && stream.Read(&response);
  if (answered) stream.WritesDone();
  const Status status = stream.Finish();
  // The same specification, of a checkpoint before.
  if (status.code() == Code::kAlreadyExists) return descriptor;
  BERTH_RETURN_IF_ERROR(status);
  return descriptor;
}

Status ContentCheckpoints::get_files(const Context& context, const Descriptor& files,
                                     const std::string& directory) {
  diff_api::ApplyRequest request;
  *request.mutable_diff() = files;
  request.mutable_diff()->set_media_type(std::string(kTar));
  *request.add_mounts() = bind_mount(directory, "rw");
  diff_api::ApplyResponse response;
  return diff_.Apply(context, request, &response);
}

}  // namespace berth::runtime
