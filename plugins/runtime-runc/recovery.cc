// A start of the daemon finds the shims of the one before.
#include <filesystem>

#include "runtime.h"

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
  std::unique_ptr<ShimLog> log;
  std::shared_ptr<Shim> shim;  // nullptr: nobody listens there
  Status status;               // of the question for the task's state
  shim_api::StateResponse state;
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
      Found found{Bundle(settings_.roots, {ns, id}), {}, nullptr, nullptr, {}, {}};
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
  ShimTimeouts timeouts = settings_.timeouts;
  // Many shims share the time of a start; a listening one accepts at once, the kernel does it.
  timeouts.connect = std::chrono::milliseconds(100);
  auto shim = Shim::connect(loop_, found->bundle.key(), *bootstrap, timeouts);
  if (shim.ok()) {
    found->shim = std::move(*shim);
  } else {
    found->status = shim.status();
  }
}

Status TaskRuntime::recover() {
  std::vector<Found> all = find_bundles();
  const int64_t deadline = ttrpc::monotonic_ns() + settings_.reconnect_timeout.count();
  for (Found& found : all) reconnect(&found);

  // All are asked at once, without a thread each, and a silent one costs the others nothing.
  struct Asked {
    std::mutex mutex;
    std::condition_variable arrived;
    size_t missing = 0;
    std::vector<std::pair<Status, shim_api::StateResponse>> replies;
  };
  const auto asked = std::make_shared<Asked>();
  asked->replies.resize(all.size(), {deadline_exceeded("the shim did not answer"), {}});
  asked->missing = all.size();
  const auto arrive = [asked](size_t index, Status status, shim_api::StateResponse state) {
    const std::lock_guard lock(asked->mutex);
    asked->replies[index] = {std::move(status), std::move(state)};
    if (--asked->missing == 0) asked->arrived.notify_all();
  };
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i].shim == nullptr) {
      arrive(i, all[i].status, {});
      continue;
    }
    shim_api::StateRequest request;
    request.set_id(all[i].bundle.key().id);
    const auto ask = [shim = all[i].shim, request,
                      timeout = settings_.reconnect_timeout](auto done) {
      shim->call_async<shim_api::StateResponse>(Context(), "State", request, timeout, done);
    };
    ask([i, arrive, ask, shim = all[i].shim](Status status, shim_api::StateResponse state) {
      if (status.code() == Code::kUnimplemented && shim->downgrade()) {
        return ask([i, arrive](Status again, shim_api::StateResponse older) {
          arrive(i, std::move(again), std::move(older));
        });
      }
      arrive(i, std::move(status), std::move(state));
    });
  }
  {
    std::unique_lock lock(asked->mutex);
    // The calls end by their own deadlines; this one is for a loop that has fallen behind.
    const auto patience =
        std::chrono::nanoseconds(deadline - ttrpc::monotonic_ns()) + std::chrono::seconds(1);
    asked->arrived.wait_for(lock, patience, [&] { return asked->missing == 0; });
    for (size_t i = 0; i < all.size(); ++i) {
      all[i].status = asked->replies[i].first;
      all[i].state = asked->replies[i].second;
    }
  }
  clean_work_directories();
  const size_t count = all.size();
  for (Found& found : all) settle(std::move(found));
  if (count > 0) {
    log(LogLevel::kInfo, "found " + std::to_string(count) + " bundles, " +
                             std::to_string(table_.list("").size()) + " of them with a shim");
  }
  return {};
}

void TaskRuntime::settle(Found found) {
  const TaskKey key = found.bundle.key();
  auto reservation = table_.reserve(key, 0);
  if (!reservation.ok()) return;
  const bool answered = found.status.ok();
  const bool silent = found.status.code() == Code::kDeadlineExceeded && found.shim != nullptr;
  if (answered || silent) {
    if (silent) {
      log(LogLevel::kError, "the shim of task " + key.to_string() +
                                " is alive and does not answer: " + found.status.message() +
                                "; its task is kept, other tasks are not held up");
    }
    auto task =
        std::make_shared<Task>(found.bundle, found.binary, found.shim, std::move(found.log));
    task->set_pid(found.state.pid());
    reservation->add(task);
    watch(task);
    return;
  }
  reservation->set_ending();
  // Its shim is dead, or serves no such task: a start that was cut short. The name stays taken
  // until all is cleaned up.
  auto shared = std::make_shared<std::pair<Found, TaskTable::Reservation>>(std::move(found),
                                                                           std::move(*reservation));
  if (!run([this, shared] { discard(shared->first); })) {
    log(LogLevel::kError, "clean up after task " + key.to_string() + ": no thread to be had");
  }
}

void TaskRuntime::discard(const Found& found) {
  const TaskKey& key = found.bundle.key();
  const bool leaked = found.shim != nullptr && !is_closed(found.status);
  log(LogLevel::kWarn,
      "task " + key.to_string() +
          (leaked ? ": its shim knows no such task, and is ended: " : ": its shim is gone: ") +
          found.status.message());
  if (leaked) {
    shim_api::ShutdownRequest shutdown;
    shutdown.set_id(key.id);
    google::protobuf::Empty empty;
    (void)found.shim->call(Context(), "Shutdown", shutdown, &empty, settings_.timeouts.shutdown);
    found.shim->close();
  }
  // runc's shim leaves the pid of the container's first process there.
  const std::string pid = found.bundle.read("init.pid").ok() ? *found.bundle.read("init.pid") : "";
  const auto number = static_cast<uint32_t>(std::strtoul(pid.c_str(), nullptr, 10));
  const ExitStatus exit = clean_up(found.bundle, found.binary, number);
  if (!leaked) publish_end(key, exit, false);
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
