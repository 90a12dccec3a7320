// The service of tasks over the runtime: requests of clients to requests of shims.
#pragma once

#include "berth/plugin/v1/info.berth.h"
#include "containerd/services/tasks/v1/tasks.berth.h"
#include "runtime.h"

namespace berth::runtime {

/// A shim that is gone has no task: what clients are told until the clean-up has removed it. Other
/// statuses pass.
Status gone_is_not_found(const Status& status, const std::string& id);

/// containerd.services.tasks.v1.Tasks. What a shim answers, code and text, is passed on as it is.
class TasksService final : public tasks_api::TasksService {
 public:
  explicit TasksService(TaskRuntime* runtime) : runtime_(runtime) {}

  Status Create(Context& context, const tasks_api::CreateTaskRequest& request,
                tasks_api::CreateTaskResponse* response) override;
  Status Start(Context& context, const tasks_api::StartRequest& request,
               tasks_api::StartResponse* response) override;
  Status Delete(Context& context, const tasks_api::DeleteTaskRequest& request,
                tasks_api::DeleteResponse* response) override;
  Status DeleteProcess(Context& context, const tasks_api::DeleteProcessRequest& request,
                       tasks_api::DeleteResponse* response) override;
  Status Get(Context& context, const tasks_api::GetRequest& request,
             tasks_api::GetResponse* response) override;
  Status List(Context& context, const tasks_api::ListTasksRequest& request,
              tasks_api::ListTasksResponse* response) override;
  Status Kill(Context& context, const tasks_api::KillRequest& request,
              google::protobuf::Empty* response) override;
  Status Exec(Context& context, const tasks_api::ExecProcessRequest& request,
              google::protobuf::Empty* response) override;
  Status ResizePty(Context& context, const tasks_api::ResizePtyRequest& request,
                   google::protobuf::Empty* response) override;
  Status CloseIO(Context& context, const tasks_api::CloseIORequest& request,
                 google::protobuf::Empty* response) override;
  Status Pause(Context& context, const tasks_api::PauseTaskRequest& request,
               google::protobuf::Empty* response) override;
  Status Resume(Context& context, const tasks_api::ResumeTaskRequest& request,
                google::protobuf::Empty* response) override;
  Status ListPids(Context& context, const tasks_api::ListPidsRequest& request,
                  tasks_api::ListPidsResponse* response) override;
  Status Checkpoint(Context& context, const tasks_api::CheckpointTaskRequest& request,
                    tasks_api::CheckpointTaskResponse* response) override;
  Status Update(Context& context, const tasks_api::UpdateTaskRequest& request,
                google::protobuf::Empty* response) override;
  Status Metrics(Context& context, const tasks_api::MetricsRequest& request,
                 tasks_api::MetricsResponse* response) override;
  /// Holds no thread while the process runs.
  void WaitCall(ServerCall call) override;
  /// The same for who is no host: `done` runs once, on any thread; it must not block.
  using WaitDone = std::function<void(const Status&, const tasks_api::WaitResponse&)>;
  /// What to run to give up waiting; empty when `done` has run.
  std::function<void()> wait(const Context& context, const tasks_api::WaitRequest& request,
                             WaitDone done);

 private:
  template <typename Request, typename Response>
  Status pass(const Context& context, const std::string& id, std::string_view method,
              const Request& request, Response* response) {
    BERTH_ASSIGN_OR_RETURN(const std::shared_ptr<Task> task, runtime_->find(context, id));
    return gone_is_not_found(task->shim()->call(context, method, request, response), id);
  }

  TaskRuntime* const runtime_;
};

/// berth.plugin.v1.Info: what a shim tells about itself and its OCI runtime.
class RuntimeInfoService final : public plugin::v1::InfoService {
 public:
  explicit RuntimeInfoService(TaskRuntime* runtime) : runtime_(runtime) {}
  Status PluginInfo(Context& context, const plugin::v1::PluginInfoRequest& request,
                    plugin::v1::PluginInfoResponse* response) override;

 private:
  TaskRuntime* const runtime_;
};

}  // namespace berth::runtime
