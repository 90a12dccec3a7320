// A start of the daemon finds the shims of the one before.
#include <berth/fault.h>

#include <filesystem>

#include "process_record.h"
#include "runtime.h"
#include "shim_names.h"

namespace berth::runtime {
namespace {

std::vector<std::string> folders_in(const std::string& path) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(path, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->is_directory(error) && !entry->is_symlink(error))
      names.push_back(entry->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool is_hidden(const std::string& name) { return name.starts_with("."); }

}  // namespace

struct TaskRuntime::Found {
  Bundle bundle;
  std::string binary;
  std::string address;  // of the shim; empty: none is known
  std::unique_ptr<ShimLog> log;
  std::shared_ptr<Shim> shim;  // nullptr: nobody listens there
  Status status;               // why there is no task
  bool shares_shim = false;    // other bundles have the same
  /// What it was taken for until its shim said that it has none, or died.
  std::shared_ptr<const Task> task;
};

std::vector<TaskRuntime::Found> TaskRuntime::find_bundles() {
  std::vector<Found> all;
  for (const std::string& ns : folders_in(settings_.roots.state)) {
    if (is_hidden(ns)) continue;
    const std::string folder = settings_.roots.state + "/" + ns;
    for (const std::string& id : folders_in(folder)) {
      if (is_hidden(
              id)) {  // a removal that was cut short after its rename; its mounts were gone before
        std::error_code ignored;
        std::filesystem::remove_all(folder + "/" + id, ignored);
        continue;
      }
      Found found{Bundle(settings_.roots, {ns, id}), {}, {}, nullptr, nullptr, {}, false, nullptr};
      std::error_code error;
      if (std::filesystem::is_empty(found.bundle.path(), error) && !error) {
        (void)found.bundle.remove();
        continue;
      }
      all.push_back(std::move(found));
    }
  }
  return all;
}

Result<std::string> TaskRuntime::binary_of(const Bundle& bundle) const {
  auto binary = bundle.read("shim-binary-path");
  if (binary.ok() && !binary->empty()) return launcher_.resolve(*binary);
  BERTH_ASSIGN_OR_RETURN(
      const auto container,
      peers_.containers->get(Context().with_ns(bundle.key().ns), bundle.key().id));
  return launcher_.resolve(container.runtime().name());
}

void TaskRuntime::reconnect(Found* found) {
  auto binary = binary_of(found->bundle);
  if (binary.ok()) {
    found->binary = std::move(*binary);
  } else {
    log(LogLevel::kWarn, "task " + found->bundle.key().to_string() +
                             ": its shim's program is not known: " + binary.status().message());
  }
  if (auto opened = open_log(found->bundle); opened.ok()) {
    found->log = std::move(*opened);
  } else {
    log(LogLevel::kWarn, opened.status().message());
  }
  auto bootstrap = read_bootstrap(found->bundle);
  if (!bootstrap.ok()) {
    found->status = bootstrap.status();
    return;
  }
  found->address = bootstrap->address;
  ShimTimeouts timeouts = settings_.timeouts;
  // Many shims share the time of a start; for a listening one the kernel accepts at once.
  timeouts.connect = std::chrono::milliseconds(100);
  auto shim = Shim::connect(loop_, found->bundle.key(), *bootstrap, timeouts);
  if (shim.ok()) {
    found->shim = std::move(*shim);
    // For messages about one that does not tell its pid.
    if (const auto pid = found->bundle.read("shim.pid"); pid.ok()) {
      found->shim->set_pid(static_cast<uint32_t>(std::strtoul(pid->c_str(), nullptr, 10)));
    }
  } else {
    found->status = shim.status();
  }
}

Status TaskRuntime::recover() {
  std::vector<Found> all = find_bundles();
  BERTH_FAULT_POINT("daemon.recover.found");
  std::map<std::string, int> served;
  for (Found& found : all) {
    reconnect(&found);
    ++served[found.address];
  }
  clean_work_directories();
  const size_t count = all.size();
  for (Found& found : all) {
    found.shares_shim = served[found.address] > 1;
    adopt(std::move(found));
  }
  BERTH_FAULT_POINT("daemon.recover.settled");
  if (count > 0) {
    log(LogLevel::kInfo, "found " + std::to_string(count) + " bundles, " +
                             std::to_string(table_.list("").size()) + " of them with a shim");
  }
  return {};
}

void TaskRuntime::adopt(Found found) {
  const TaskKey key = found.bundle.key();
  auto reservation = table_.reserve(key, 0);
  if (!reservation.ok()) return;
  if (found.shim != nullptr) {
    const auto task =
        std::make_shared<Task>(found.bundle, found.binary, found.shim, std::move(found.log));
    reservation->add_unconfirmed(task);
    ask_for_state(task, found.shares_shim, settings_.reconnect_timeout);
    return;
  }
  reservation->set_ending();
  // The name stays taken until all is cleaned up.
  auto shared = std::make_shared<std::pair<Found, TaskTable::Reservation>>(std::move(found),
                                                                           std::move(*reservation));
  if (!run([this, shared] { (void)discard(shared->first); })) {
    log(LogLevel::kError, "clean up after task " + key.to_string() + ": no thread to be had");
  }
}

// Nobody waits for the answer: one silent shim, or a hundred, must not hold the start up.
void TaskRuntime::ask_for_state(const std::shared_ptr<Task>& task, bool shares_shim,
                                std::chrono::nanoseconds timeout) {
  shim_api::StateRequest request;
  request.set_id(task->key().id);
  task->shim()->call_async<shim_api::StateResponse>(
      Context(), "State", request, timeout,
      [this, weak = std::weak_ptr(task), shares_shim, timeout](
          const Status& status, const shim_api::StateResponse& state) {
        const auto asked = weak.lock();
        if (asked == nullptr || stopping_) return;
        if (status.code() == Code::kUnimplemented && asked->shim()->downgrade()) {
          return ask_for_state(asked, shares_shim, timeout);
        }
        if (timeout == std::chrono::nanoseconds::max())
          return answered_late(asked, status, state.pid(), shares_shim);
        confirm(asked, status, state.pid(), shares_shim);
      });
}

void TaskRuntime::confirm(const std::shared_ptr<Task>& task, const Status& status, uint32_t pid,
                          bool shares_shim) {
  const bool silent = status.code() == Code::kDeadlineExceeded;
  if (status.ok() || silent) {
    if (silent) {
      log(LogLevel::kError, "the shim of task " + task->key().to_string() +
                                " is alive and does not answer: " + status.message() +
                                "; its task is kept, other tasks are not held up");
    }
    task->set_pid(pid);
    table_.confirm(task->key());
    watch(task);
    if (silent) ask_for_state(task, shares_shim, std::chrono::nanoseconds::max());
    return;
  }
  // Its shim is dead, or serves no such task: a start that was cut short.
  discard_soon(task, status, shares_shim);
}

// A shim that was taken at its silence to have its task.
void TaskRuntime::answered_late(const std::shared_ptr<Task>& task, const Status& status,
                                uint32_t pid, bool shares_shim) {
  if (status.ok()) return task->set_pid(pid);
  // One that has ended is buried like any other.
  if (status.code() == Code::kNotFound) discard_soon(task, status, shares_shim);
}

void TaskRuntime::discard_soon(const std::shared_ptr<Task>& task, const Status& status,
                               bool shares_shim) {
  if (!task->claim_end()) return;
  auto name = std::make_shared<TaskTable::Reservation>(table_.retire(*task));
  const bool spawned = run([this, task, name, status, shares_shim] {
    const Found found{task->bundle(), task->binary(), "known",     nullptr,
                      task->shim(),   status,         shares_shim, task};
    task->set_gone(discard(found));
  });
  if (!spawned) {
    log(LogLevel::kError,
        "clean up after task " + task->key().to_string() + ": no thread to be had");
  }
}

ExitStatus TaskRuntime::discard(const Found& found) {
  BERTH_FAULT_POINT("daemon.discard.begin");
  const TaskKey& key = found.bundle.key();
  const bool leaked = found.shim != nullptr && !is_closed(found.status);
  log(LogLevel::kWarn,
      "task " + key.to_string() +
          (leaked ? ": its shim knows no such task, and is ended: " : ": its shim is gone: ") +
          found.status.message());
  if (found.shim == nullptr && !found.binary.empty()) {
    // What started it may still be at it, since it was the child of the daemon before: what has no
    // socket yet, or none any more, is found by nobody when the bundle is gone.
    if (const size_t killed = kill_processes_in(found.bundle.path(), found.binary); killed > 0) {
      log(LogLevel::kWarn, "task " + key.to_string() + ": killed " + std::to_string(killed) +
                               " processes of its shim that could not be reached");
    }
  }
  if (leaked) {
    // At once, also in the middle of a creation that nobody waits for any more; but others may have
    // their tasks there.
    shim_api::ShutdownRequest shutdown;
    shutdown.set_id(key.id);
    shutdown.set_now(!found.shares_shim);
    google::protobuf::Empty empty;
    const Status ended =
        found.shim->call(Context(), "Shutdown", shutdown, &empty, settings_.timeouts.shutdown);
    found.shim->close();
    if (!ended.ok() && !is_closed(ended) && !found.shares_shim) {
      (void)kill_processes_in(found.bundle.path());
    }
  }
  BERTH_FAULT_POINT("daemon.discard.ended");
  // runc's shim leaves the pid of the container's first process there.
  const auto pid = found.bundle.read("init.pid");
  const auto number = static_cast<uint32_t>(pid.ok() ? std::strtoul(pid->c_str(), nullptr, 10) : 0);
  const ExitStatus cleaned = clean_up(found.bundle, found.binary, number);
  BERTH_FAULT_POINT("daemon.discard.cleaned");
  // Without a pid there was no process, whose end could be told.
  const bool never_made = leaked || number == 0;
  // Its shim may have told an end to this daemon before it died.
  const Untold rest = untold(found.bundle, found.task.get(), cleaned, never_made, false);
  const ExitStatus exit = rest.all.at("");
  publish_untold(found.bundle, rest, exit);
  BERTH_FAULT_POINT("daemon.discard.told");
  drop_socket(found.bundle);
  drop_bundle(found.bundle);
  return exit;
}

void TaskRuntime::clean_work_directories() const {
  for (const std::string& ns : folders_in(settings_.roots.root)) {
    for (const std::string& id : folders_in(settings_.roots.root + "/" + ns)) {
      std::error_code error;
      if (std::filesystem::exists(settings_.roots.state + "/" + ns + "/" + id, error) || error)
        continue;
      std::filesystem::remove_all(settings_.roots.root + "/" + ns + "/" + id, error);
    }
  }
}

}  // namespace berth::runtime
