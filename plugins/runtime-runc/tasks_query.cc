// The methods that ask many shims at once.
#include <berth/filter.h>

#include <filesystem>

#include "tasks_service.h"

namespace berth::runtime {
namespace {

constexpr std::chrono::nanoseconds kSilentPatience = std::chrono::milliseconds(250);

// Asks all tasks' shims the same, each for as long as `timeout`, without a thread each; the answers
// in the order of the tasks. One shim that is silent costs the others nothing.
template <typename Request, typename Response>
std::vector<std::pair<Status, Response>> ask_all(const Context& context,
                                                 const std::vector<std::shared_ptr<Task>>& tasks,
                                                 std::string_view method,
                                                 std::chrono::nanoseconds timeout) {
  struct Asked {
    std::mutex mutex;
    std::condition_variable arrived;
    size_t missing = 0;
    std::vector<std::pair<Status, Response>> replies;
  };
  const auto asked = std::make_shared<Asked>();
  asked->missing = tasks.size();
  asked->replies.resize(tasks.size());
  for (size_t i = 0; i < tasks.size(); ++i) {
    Request request;
    request.set_id(tasks[i]->key().id);
    // One that has not answered before may do so now, but is not waited for again and again.
    const bool silent = tasks[i]->shim()->silent();
    tasks[i]->shim()->template call_async<Response>(
        context, method, request, silent ? std::min(timeout, kSilentPatience) : timeout,
        [asked, i](Status status, Response response) {
          const std::lock_guard lock(asked->mutex);
          asked->replies[i] = {std::move(status), std::move(response)};
          if (--asked->missing == 0) asked->arrived.notify_all();
        });
  }
  std::unique_lock lock(asked->mutex);
  asked->arrived.wait(lock, [&] { return asked->missing == 0; });
  return std::move(asked->replies);
}

bool matches(const FilterSet& filters, const TaskKey& key) {
  return filters.matches([&](std::span<const std::string> path) -> std::optional<std::string> {
    if (path.size() != 1) return std::nullopt;
    if (path[0] == "id") return key.id;
    if (path[0] == "namespace") return key.ns;
    return std::nullopt;
  });
}

}  // namespace

Status TasksService::List(Context& context, const tasks_api::ListTasksRequest& /*request*/,
                          tasks_api::ListTasksResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const std::string ns, context.require_ns());
  const auto tasks = runtime_->list(ns);
  const auto replies = ask_all<shim_api::StateRequest, shim_api::StateResponse>(
      context, tasks, "State", runtime_->settings().timeouts.state);
  for (size_t i = 0; i < tasks.size(); ++i) {
    const auto& [status, state] = replies[i];
    // Deleted or dead since the list was made.
    if (status.code() == Code::kNotFound || is_closed(status)) continue;
    auto* process = response->add_tasks();
    process->set_container_id(tasks[i]->key().id);
    process->set_id(tasks[i]->key().id);
    if (!status.ok()) {  // a shim that does not answer has a task all the same, in a state that
                         // nobody knows
      process->set_pid(tasks[i]->pid());
      process->set_status(containerd::v1::types::UNKNOWN);
      continue;
    }
    process->set_pid(state.pid());
    process->set_status(state.status());
    process->set_stdin(state.stdin());
    process->set_stdout(state.stdout());
    process->set_stderr(state.stderr());
    process->set_terminal(state.terminal());
    process->set_exit_status(state.exit_status());
    *process->mutable_exited_at() = state.exited_at();
  }
  return {};
}

Status TasksService::Metrics(Context& context, const tasks_api::MetricsRequest& request,
                             tasks_api::MetricsResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const std::string ns, context.require_ns());
  BERTH_ASSIGN_OR_RETURN(const FilterSet filters, FilterSet::parse(request.filters()));
  auto tasks = runtime_->list(ns);
  std::erase_if(tasks,
                [&](const std::shared_ptr<Task>& task) { return !matches(filters, task->key()); });
  const auto replies = ask_all<shim_api::StatsRequest, shim_api::StatsResponse>(
      context, tasks, "Stats", runtime_->settings().timeouts.state);
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  for (size_t i = 0; i < tasks.size(); ++i) {
    if (!replies[i].first.ok()) continue;
    auto* metric = response->add_metrics();
    metric->mutable_timestamp()->set_seconds(now.tv_sec);
    metric->mutable_timestamp()->set_nanos(static_cast<int32_t>(now.tv_nsec));
    metric->set_id(tasks[i]->key().id);
    *metric->mutable_data() = replies[i].second.stats();
  }
  return {};
}

}  // namespace berth::runtime
