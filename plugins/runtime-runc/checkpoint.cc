// Checkpoints of tasks: through a directory of the client's, or through the content store.
#include <sys/stat.h>

#include "containerd/types/runc/options/oci.pb.h"
#include "tasks_service.h"

namespace berth::runtime {
namespace {

// Below the bundle's directory on disk: a checkpoint has the size of the container's memory.
constexpr std::string_view kOut = "/checkpoint-out";
constexpr std::string_view kIn = "/checkpoint-in";

Status make_empty(const std::string& directory) {
  BERTH_RETURN_IF_ERROR(remove_tree(directory));
  if (::mkdir(directory.c_str(), 0700) != 0) return errno_status(errno, "make " + directory);
  return {};
}

}  // namespace

Status TasksService::Checkpoint(Context& context, const tasks_api::CheckpointTaskRequest& request,
                                tasks_api::CheckpointTaskResponse* response) {
  const std::string& id = request.container_id();
  containerd::runc::v1::CheckpointOptions options;
  if (request.has_options() &&
      (!request.options().type_url().ends_with("containerd.runc.v1.CheckpointOptions") ||
       !options.ParseFromString(request.options().value()))) {
    return invalid_argument("checkpoint task " + id +
                            ": invalid task checkpoint option of type \"" +
                            request.options().type_url() + "\"");
  }
  shim_api::CheckpointTaskRequest checkpoint;
  checkpoint.set_id(id);
  *checkpoint.mutable_options() = request.options();
  google::protobuf::Empty empty;
  if (!options.image_path().empty()) {
    checkpoint.set_path(options.image_path());
    return pass(context, id, "Checkpoint", checkpoint, &empty);
  }

  const Peers& peers = runtime_->peers();
  if (peers.checkpoints == nullptr) {
    return unimplemented("checkpoint task " + id +
                         " into the content store: there is no differ; pass a directory as "
                         "image_path of the options");
  }
  BERTH_ASSIGN_OR_RETURN(const auto container, peers.containers->get(context, id));
  BERTH_ASSIGN_OR_RETURN(const std::shared_ptr<Task> task, runtime_->find(context, id));
  const std::string directory = task->bundle().work() + std::string(kOut);
  BERTH_RETURN_IF_ERROR(make_empty(directory));
  const Cleanup removal([&] { (void)remove_tree(directory); });  // else with the bundle
  checkpoint.set_path(directory);
  BERTH_RETURN_IF_ERROR(pass(context, id, "Checkpoint", checkpoint, &empty));
  const std::string ref = "checkpoint-" + id;
  BERTH_ASSIGN_OR_RETURN(*response->add_descriptors(),
                         peers.checkpoints->put_files(context, directory, ref));
  BERTH_ASSIGN_OR_RETURN(
      *response->add_descriptors(),
      peers.checkpoints->put_spec(context, container.spec().SerializeAsString(), ref + "-spec"));
  return {};
}

Result<std::string> TaskRuntime::fetch_checkpoint(
    const Context& context, const Bundle& bundle,
    const containerd::types::Descriptor& files) const {
  const std::string attempt =
      "create task " + bundle.key().id + " from checkpoint " + files.digest();
  if (peers_.checkpoints == nullptr) {
    return unimplemented(attempt +
                         ": there is no differ; unpack it and pass its directory as "
                         "criu_image_path of the options");
  }
  std::string directory = bundle.work() + std::string(kIn);
  BERTH_RETURN_IF_ERROR(make_empty(directory));
  BERTH_RETURN_IF_ERROR(
      peers_.checkpoints->get_files(context, files, directory).with_context(attempt));
  return directory;
}

}  // namespace berth::runtime
