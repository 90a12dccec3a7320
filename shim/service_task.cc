// Methods that concern a container as a whole.
#include <berth/cgroup_move.h>
#include <berth/fault.h>
#include <sys/stat.h>

#include <cstdlib>

#include "containerd/events/task.pb.h"
#include "containerd/runtime/task/v3/shim.pb.h"
#include "containerd/types/runc/options/oci.pb.h"
#include "files.h"
#include "leftovers.h"
#include "log.h"
#include "mounts.h"
#include "service.h"

namespace berth::shim {

namespace task = containerd::task::v3;
namespace events = containerd::events;

namespace {

std::vector<Mount> mounts_of(const task::CreateTaskRequest& request) {
  std::vector<Mount> mounts;
  for (const auto& mount : request.rootfs()) {
    mounts.push_back({mount.type(),
                      mount.source(),
                      mount.target(),
                      {mount.options().begin(), mount.options().end()}});
  }
  return mounts;
}

events::TaskCreate created_event(const task::CreateTaskRequest& request, uint32_t pid) {
  events::TaskCreate event;
  event.set_container_id(request.id());
  event.set_bundle(request.bundle());
  *event.mutable_rootfs() = request.rootfs();
  event.mutable_io()->set_stdin(request.stdin());
  event.mutable_io()->set_stdout(request.stdout());
  event.mutable_io()->set_stderr(request.stderr());
  event.mutable_io()->set_terminal(request.terminal());
  event.set_checkpoint(request.checkpoint());
  event.set_pid(pid);
  return event;
}

}  // namespace

Status Service::create(std::string_view bytes, std::string* out) {
  task::CreateTaskRequest request;
  BERTH_RETURN_IF_ERROR(parse(bytes, &request));
  {
    const std::lock_guard lock(mutex_);
    if (leaving_) {
      return unavailable("create task " + request.id() +
                         ": its shim is about to end; try again, and another one is started");
    }
    if (containers_.contains(request.id()) || !creating_.insert(request.id()).second) {
      return already_exists("task " + request.id() + ": already exists");
    }
  }
  workers_.post([] { (void)anticipate_cgroup_move(); });
  const Cleanup created([&] {
    const std::lock_guard lock(mutex_);
    creating_.erase(request.id());
  });
  BERTH_FAULT_POINT("shim.create.begin");
  BERTH_ASSIGN_OR_RETURN(const RuntimeOptions options,
                         parse_options(request.options().type_url(), request.options().value()));
  BERTH_ASSIGN_OR_RETURN(const std::string config, read_file(request.bundle() + "/config.json"));
  const auto container = std::make_shared<Container>();
  container->id = request.id();
  container->bundle = request.bundle();
  BERTH_ASSIGN_OR_RETURN(container->facts, read_spec(config));
  container->runtime =
      std::make_shared<const Runtime>(&children_, options, settings_.ns, request.bundle());
  // A container that is restored, and one of systemd's, is the runtime's business.
  if (is_direct(container->facts) && !options.systemd_cgroup && request.checkpoint().empty()) {
    container->direct = direct_kind(options.binary);
  }
  BERTH_RETURN_IF_ERROR(save_options(request.bundle(), options));
  BERTH_ASSIGN_OR_RETURN(container->record, Record::open(request.bundle()));
  BERTH_FAULT_POINT("shim.create.saved");
  container->init = std::make_shared<Process>();
  Process& init = *container->init;
  init.stdio_spec = {request.stdin(), request.stdout(), request.stderr(), request.terminal()};
  init.checkpoint = request.checkpoint();

  if (request.rootfs_size() > 0) {
    BERTH_RETURN_IF_ERROR(mount_rootfs(mounts_of(request), container->rootfs())
                              .with_context("failed to mount rootfs component"));
  }
  BERTH_FAULT_POINT("shim.create.mounted");
  Cleanup unmount([&] {
    if (request.rootfs_size() > 0) (void)unmount_rootfs(container->rootfs());
  });
  BERTH_ASSIGN_OR_RETURN(init.stdio, Stdio::open(loop_, &children_, init.stdio_spec,
                                                 {settings_.ns, request.id(), request.bundle(),
                                                  "init", options.io_uid, options.io_gid}));
  Cleanup close_streams([&] { init.stdio->close(); });
  BERTH_FAULT_POINT("shim.create.streams");
  begin_spawn();
  const Cleanup spawned([&] { end_spawn(); });
  pid_t pid = 0;
  if (init.checkpoint.empty()) {
    std::vector<std::string> arguments = {"create", "--bundle", request.bundle(), "--pid-file",
                                          request.bundle() + "/init.pid"};
    if (const std::string console = init.stdio->console_path(); !console.empty()) {
      arguments.insert(arguments.end(), {"--console-socket", console});
    }
    if (options.no_pivot_root) arguments.emplace_back("--no-pivot");
    if (options.no_new_keyring) arguments.emplace_back("--no-new-keyring");
    arguments.push_back(request.id());
    const Stdio& io = *init.stdio;
    // From here on there may be one, also when the runtime says or does nothing any more.
    Cleanup remove_container([&] {
      const Status removed =
          remove_half_made(*container->runtime, request.id(), container->facts.cgroups_path);
      if (!removed.ok()) log(Level::kWarning, "undo a failed create: " + removed.message());
    });
    BERTH_RETURN_IF_ERROR(container->runtime->run("OCI runtime create failed", std::move(arguments),
                                                  {io.child_in(), io.child_out(), io.child_err()}));
    BERTH_FAULT_POINT("shim.create.made");
    BERTH_RETURN_IF_ERROR(init.stdio->begin());
    BERTH_ASSIGN_OR_RETURN(const std::string text, read_file(request.bundle() + "/init.pid"));
    pid = std::atoi(text.c_str());
    remove_container.dismiss();
    if (auto cgroup = cgroup_of(pid); cgroup.ok()) container->cgroup = *std::move(cgroup);
    container->oom = OomWatcher::watch(loop_, container->cgroup, [this, id = request.id()] {
      events::TaskOOM event;
      event.set_container_id(id);
      publish("/tasks/oom", "containerd.events.TaskOOM", event);
    });
  }
  close_streams.dismiss();
  unmount.dismiss();
  const std::lock_guard lock(mutex_);
  containers_[request.id()] = container;
  container->record->started("", pid);
  publish("/tasks/create", "containerd.events.TaskCreate",
          created_event(request, static_cast<uint32_t>(pid)));
  if (pid != 0) adopt_locked(container->init, pid);
  if (init.exit) settle_soon(container);
  BERTH_FAULT_POINT("shim.create.published");
  task::CreateTaskResponse response;
  response.set_pid(static_cast<uint32_t>(pid));
  response.SerializeToString(out);
  return {};
}

Status Service::pids(std::string_view bytes, std::string* out) {
  task::PidsRequest request;
  BERTH_RETURN_IF_ERROR(parse(bytes, &request));
  BERTH_ASSIGN_OR_RETURN(const auto container, find(request.id()));
  const std::vector<uint32_t> pids = processes_of(container->cgroup);
  task::PidsResponse response;
  const std::lock_guard lock(mutex_);
  for (const uint32_t pid : pids) {
    auto& process = *response.add_processes();
    process.set_pid(pid);
    for (const auto& [exec_id, exec] : container->execs) {
      if (exec->pid != static_cast<pid_t>(pid)) continue;
      containerd::runc::v1::ProcessDetails details;
      details.set_exec_id(exec_id);
      process.mutable_info()->set_type_url("containerd.runc.v1.ProcessDetails");
      process.mutable_info()->set_value(details.SerializeAsString());
    }
  }
  response.SerializeToString(out);
  return {};
}

Status Service::stats(std::string_view bytes, std::string* out) {
  task::StatsRequest request;
  BERTH_RETURN_IF_ERROR(parse(bytes, &request));
  BERTH_ASSIGN_OR_RETURN(const auto container, find(request.id()));
  BERTH_ASSIGN_OR_RETURN(Metrics metrics, read_metrics(container->cgroup));
  task::StatsResponse response;
  response.mutable_stats()->set_type_url(std::move(metrics.type));
  response.mutable_stats()->set_value(std::move(metrics.value));
  response.SerializeToString(out);
  return {};
}

Status Service::set_paused(std::string_view bytes, bool paused) {
  task::PauseRequest request;  // ResumeRequest is the same
  BERTH_RETURN_IF_ERROR(parse(bytes, &request));
  BERTH_ASSIGN_OR_RETURN(const auto container, find(request.id()));
  const std::lock_guard operation(container->init->operation);
  {
    const std::lock_guard lock(mutex_);
    const Process& init = *container->init;
    const char* const word = init.exit ? "stopped" : !init.started ? "created" : nullptr;
    if (word != nullptr || container->paused == paused) {
      return unknown_error(std::string("cannot ") + (paused ? "pause" : "resume") + " a " +
                           (word != nullptr ? word
                            : paused        ? "paused"
                                            : "running") +
                           " container");
    }
  }
  BERTH_RETURN_IF_ERROR(
      container->runtime->run(paused ? "OCI runtime pause failed" : "OCI runtime resume failed",
                              {paused ? "pause" : "resume", container->id}));
  const std::lock_guard lock(mutex_);
  container->paused = paused;
  if (paused) {
    events::TaskPaused event;
    event.set_container_id(container->id);
    publish("/tasks/paused", "containerd.events.TaskPaused", event);
  } else {
    events::TaskResumed event;
    event.set_container_id(container->id);
    publish("/tasks/resumed", "containerd.events.TaskResumed", event);
  }
  return {};
}

Status Service::pause(std::string_view bytes, std::string*) { return set_paused(bytes, true); }
Status Service::resume(std::string_view bytes, std::string*) { return set_paused(bytes, false); }

Status Service::update(std::string_view bytes, std::string*) {
  task::UpdateTaskRequest request;
  BERTH_RETURN_IF_ERROR(parse(bytes, &request));
  BERTH_ASSIGN_OR_RETURN(const auto container, find(request.id()));
  BERTH_ASSIGN_OR_RETURN(const UniqueFd resources,
                         memory_file("resources", request.resources().value()));
  return container->runtime->run("OCI runtime update failed",
                                 {"update", "--resources", "-", container->id},
                                 {resources.get(), -1, -1});
}

Status Service::checkpoint(std::string_view bytes, std::string*) {
  task::CheckpointTaskRequest request;
  BERTH_RETURN_IF_ERROR(parse(bytes, &request));
  BERTH_ASSIGN_OR_RETURN(const auto container, find(request.id()));
  containerd::runc::v1::CheckpointOptions options;
  if (request.options().type_url().ends_with("containerd.runc.v1.CheckpointOptions")) {
    BERTH_RETURN_IF_ERROR(parse(request.options().value(), &options));
  }
  std::vector<std::string> arguments = {"checkpoint", "--image-path", request.path()};
  const auto add = [&](bool wanted, std::initializer_list<std::string> words) {
    if (wanted) arguments.insert(arguments.end(), words);
  };
  add(!options.work_path().empty(), {"--work-path", options.work_path()});
  add(options.open_tcp(), {"--tcp-established"});
  add(options.external_unix_sockets(), {"--ext-unix-sk"});
  add(options.terminal(), {"--shell-job"});
  add(options.file_locks(), {"--file-locks"});
  add(!options.cgroups_mode().empty(), {"--manage-cgroups-mode", options.cgroups_mode()});
  for (const std::string& name : options.empty_namespaces()) add(true, {"--empty-ns", name});
  add(!options.exit(), {"--leave-running"});
  arguments.push_back(container->id);
  BERTH_RETURN_IF_ERROR(
      container->runtime->run("OCI runtime checkpoint failed", std::move(arguments)));
  events::TaskCheckpointed event;
  event.set_container_id(container->id);
  event.set_checkpoint(request.path());
  publish("/tasks/checkpointed", "containerd.events.TaskCheckpointed", event);
  return {};
}

Status Service::remove_init(const Found& found) {
  constexpr int kDrainSeconds = 2;
  const auto& container = found.first;
  const auto& init = found.second;  // no structured binding: clang lets no lambda capture one
  bool started = false;
  {
    std::unique_lock lock(mutex_);
    started = init->started;
    // An end that is known is told in a moment: that of an exec comes first.
    if (init->exit) {
      told_.wait_for(lock, std::chrono::seconds(kDrainSeconds), [&] { return init->told; });
    }
    if (started && !init->told) {
      return unknown_error(container->paused ? "cannot delete a paused process"
                                             : "cannot delete a running process");
    }
  }
  if (started) init->stdio->drain(kDrainSeconds);
  BERTH_FAULT_POINT("shim.delete.drained");
  if (!started || !direct_remove(container->direct, container->runtime->state_of(container->id),
                                 container->facts, container->cgroup)) {
    BERTH_RETURN_IF_ERROR(container->runtime->remove(container->id, !started));
  }
  BERTH_FAULT_POINT("shim.delete.removed");
  if (!started && init->pid != 0) {  // the runtime has killed it
    std::unique_lock lock(mutex_);
    told_.wait_for(lock, std::chrono::seconds(kDrainSeconds), [&] { return init->told; });
  }
  if (const Status unmounted = unmount_rootfs(container->rootfs()); !unmounted.ok()) {
    log(Level::kWarning, "failed to cleanup rootfs mount: " + unmounted.message());
  }
  BERTH_FAULT_POINT("shim.delete.unmounted");
  return {};
}

}  // namespace berth::shim
