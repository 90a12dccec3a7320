// How a task comes into being.
#include <berth/cgroup_move.h>
#include <berth/fault.h>

#include "containerd/types/runc/options/oci.pb.h"
#include "runtime.h"
#include "shim_names.h"

namespace berth::runtime {
namespace {

// For the clean-up after an earlier task of the same name.
constexpr std::chrono::nanoseconds kNamePatience = std::chrono::seconds(10);

// typeurl names messages with or without a host before them.
bool is_type(const google::protobuf::Any& any, std::string_view name) {
  const std::string& url = any.type_url();
  return url == name || url.ends_with("/" + std::string(name));
}

}  // namespace

Result<std::unique_ptr<ShimLog>> TaskRuntime::open_log(const Bundle& bundle) {
  return ShimLog::open(
      loop_, bundle, [this, name = bundle.key().to_string()](std::string_view line) {
        const auto has = [&](std::string_view level) {
          return line.find("level=" + std::string(level)) != std::string_view::npos;
        };
        const LogLevel level = has("error") || has("fatal") || has("panic") ? LogLevel::kError
                               : has("warn")                                ? LogLevel::kWarn
                               : has("debug")                               ? LogLevel::kDebug
                                                                            : LogLevel::kInfo;
        log(level, "shim of task " + name + ": " + std::string(line));
      });
}

// A sandbox's shim that serves this container too; UNAVAILABLE when a shim must be started.
Result<Bootstrap> TaskRuntime::sandbox_shim(const TaskKey& key, const Container& container,
                                            const google::protobuf::Any& options) const {
  // Only since version 3 a shim takes containers that its program was not asked to start.
  constexpr int kGroupingVersion = 3;
  containerd::runc::v1::Options runc_options;
  if (is_type(options, "containerd.runc.v1.Options") &&
      runc_options.ParseFromString(options.value()) && !runc_options.task_api_address().empty()) {
    const std::string& address = runc_options.task_api_address();
    const size_t plus = address.find('+');
    if (plus == std::string::npos) {
      return invalid_argument(
          "task API address \"" + address +
          "\": it must have the form <protocol>+<unix|vsock|tcp>, as ttrpc+unix:///run/x");
    }
    return Bootstrap{static_cast<int>(runc_options.task_api_version()), address.substr(plus + 1),
                     address.substr(0, plus)};
  }
  if (!container.sandbox().empty() && container.sandbox() != key.id) {
    if (const auto sandbox = table_.find({key.ns, container.sandbox()}); sandbox.ok()) {
      auto bootstrap = read_bootstrap((*sandbox)->bundle());
      if (bootstrap.ok() && bootstrap->version >= kGroupingVersion) return bootstrap;
    }
  }
  return unavailable("no shim of a sandbox");
}

// What tells Berth's shim that it knows the runtime; nothing to others.
std::vector<std::string> TaskRuntime::direct_environment(const google::protobuf::Any& options) {
  containerd::runc::v1::Options runc_options;
  if (is_type(options, "containerd.runc.v1.Options"))
    (void)runc_options.ParseFromString(options.value());
  const std::string& named = runc_options.binary_name();
  std::string told = direct_runtimes_.told_of(named.empty() ? "runc" : named);
  if (told.empty()) return {};
  return {"BERTH_DIRECT_RUNTIME=" + std::move(told)};
}

Result<std::shared_ptr<Task>> TaskRuntime::start_shim(const Context& context, const Bundle& bundle,
                                                      const Container& container,
                                                      const std::string& runtime,
                                                      const google::protobuf::Any& options) {
  auto binary = launcher_.resolve(runtime);
  if (!binary.ok())
    return binary.status().with_context("failed to start shim: failed to resolve runtime path");
  BERTH_ASSIGN_OR_RETURN(auto shim_log, open_log(bundle));
  BERTH_FAULT_POINT("daemon.create.log");
  auto bootstrap = sandbox_shim(bundle.key(), container, options);
  if (bootstrap.ok()) {
    BERTH_RETURN_IF_ERROR(bundle.write("sandbox", container.sandbox()));
  } else if (bootstrap.status().code() == Code::kUnavailable) {
    const std::string input = options.type_url().empty() && options.value().empty()
                                  ? std::string()
                                  : options.SerializeAsString();
    bootstrap = launcher_.start(
        bundle, *binary, input, context.deadline(), [&context] { return context.cancelled(); },
        direct_environment(options));
    if (!bootstrap.ok()) {
      // A program that was killed may have come as far as a shim.
      (void)kill_processes_in(bundle.path());
      drop_socket(bundle);
      return bootstrap.status().with_context("failed to start shim: start failed");
    }
  } else {
    return bootstrap.status();
  }
  // From here on there is a shim: a daemon that is killed now must find it again.
  BERTH_FAULT_POINT("daemon.create.started");
  BERTH_RETURN_IF_ERROR(bundle.write("shim-binary-path", *binary));
  BERTH_RETURN_IF_ERROR(write_bootstrap(bundle, *bootstrap));
  BERTH_FAULT_POINT("daemon.create.recorded");
  auto shim = Shim::connect(loop_, bundle.key(), *bootstrap, settings_.timeouts);
  if (!shim.ok()) {
    (void)clean_up(bundle, *binary, 0);
    (void)kill_processes_in(bundle.path());
    return shim.status().with_context("failed to start shim");
  }
  BERTH_FAULT_POINT("daemon.create.connected");
  return std::make_shared<Task>(bundle, std::move(*binary), std::move(*shim), std::move(shim_log));
}

Status TaskRuntime::create_in_shim(const Context& context, Task& task,
                                   const shim_api::CreateTaskRequest& request, uint32_t* pid) {
  shim_api::CreateTaskResponse response;
  Status status = task.shim()->call(context, "Create", request, &response);
  // A shim that was started before an upgrade may know only the service of before.
  if (status.code() == Code::kUnimplemented && task.shim()->downgrade()) {
    status = task.shim()->call(context, "Create", request, &response);
  }
  *pid = response.pid();
  return status;
}

void TaskRuntime::abandon(Task& task) {
  BERTH_FAULT_POINT("daemon.abandon.begin");
  const TaskKey& key = task.key();
  // The caller's context may be over; what it began has to be undone all the same.
  const Context context = Context().with_ns(key.ns);
  shim_api::DeleteRequest request;
  request.set_id(key.id);
  shim_api::DeleteResponse deleted;
  const Status status =
      task.shim()->call(context, "Delete", request, &deleted, settings_.launcher.delete_timeout);
  if (!status.ok() && status.code() != Code::kNotFound &&
      status.code() != Code::kFailedPrecondition) {
    log(LogLevel::kWarn, "task " + key.to_string() +
                             " could not be created, and deleting it failed: " + status.message());
  }
  shim_api::ShutdownRequest shutdown;
  shutdown.set_id(key.id);
  google::protobuf::Empty empty;
  (void)task.shim()->call(context, "Shutdown", shutdown, &empty, settings_.timeouts.shutdown);
  task.shim()->close();
  BERTH_FAULT_POINT("daemon.abandon.ended");
  if (!status.ok() && status.code() != Code::kNotFound) {
    (void)clean_up(task.bundle(), task.binary(), 0);
    // One that does not answer does not end either.
    if (const size_t killed = kill_processes_in(task.bundle().path()); killed > 0) {
      log(LogLevel::kWarn, "task " + key.to_string() + " could not be created: killed " +
                               std::to_string(killed) + " processes that its shim left");
    }
  }
  // Last: of one that did not answer it is dead only now.
  drop_socket(task.bundle());
}

Status TaskRuntime::create(const Context& context, const tasks_api::CreateTaskRequest& request,
                           tasks_api::CreateTaskResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const std::string ns, context.require_ns());
  const TaskKey key{ns, request.container_id()};
  // The container first: a name that no container can have is NOT_FOUND, as in containerd.
  BERTH_ASSIGN_OR_RETURN(const Container container, peers_.containers->get(context, key.id));
  BERTH_RETURN_IF_ERROR(validate_identifier("task id", key.id));
  const int64_t patience = ttrpc::monotonic_ns() + kNamePatience.count();
  BERTH_ASSIGN_OR_RETURN(auto reservation,
                         table_.reserve(key, std::min(context.deadline(), patience)));

  // Shims of others do not ask for it; by when the runtime gets there, it is over.
  (void)run([] { (void)anticipate_cgroup_move(); });
  BERTH_FAULT_POINT("daemon.create.begin");
  const google::protobuf::Any& options =
      request.options().value().empty() ? container.runtime().options() : request.options();
  containerd::runc::v1::Options runc_options;
  if (is_type(options, "containerd.runc.v1.Options"))
    (void)runc_options.ParseFromString(options.value());

  BERTH_ASSIGN_OR_RETURN(const Bundle bundle,
                         Bundle::create(settings_.roots, key, container.spec().value()));
  Cleanup remove_bundle([&] {
    if (const Status removed = bundle.remove(); !removed.ok())
      log(LogLevel::kError, removed.message());
  });
  BERTH_FAULT_POINT("daemon.create.bundle");
  std::string checkpoint = runc_options.criu_image_path();
  if (request.has_checkpoint()) {
    BERTH_ASSIGN_OR_RETURN(checkpoint, fetch_checkpoint(context, bundle, request.checkpoint()));
  }
  const std::string runtime =
      request.runtime_path().empty() ? container.runtime().name() : request.runtime_path();
  BERTH_ASSIGN_OR_RETURN(const std::shared_ptr<Task> task,
                         start_shim(context, bundle, container, runtime, options));

  shim_api::CreateTaskRequest create;
  create.set_id(key.id);
  create.set_bundle(bundle.path());
  *create.mutable_rootfs() = request.rootfs();
  create.set_terminal(request.terminal());
  create.set_stdin(request.stdin());
  create.set_stdout(request.stdout());
  create.set_stderr(request.stderr());
  create.set_checkpoint(checkpoint);
  if (!options.type_url().empty()) *create.mutable_options() = options;
  uint32_t pid = 0;
  if (const Status status = create_in_shim(context, *task, create, &pid); !status.ok()) {
    task->claim_end();
    abandon(*task);
    return (is_closed(status)
                ? status.with_context("the shim of task " + key.to_string() + " ended")
                : status)
        .with_context("failed to create shim task");
  }
  BERTH_FAULT_POINT("daemon.create.made");
  task->set_pid(pid);
  remove_bundle.dismiss();
  reservation.add(task);
  watch(task);
  BERTH_FAULT_POINT("daemon.create.added");
  response->set_container_id(key.id);
  response->set_pid(pid);
  return {};
}

}  // namespace berth::runtime
