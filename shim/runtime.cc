#include "runtime.h"

#include <unistd.h>

#include "files.h"
#include "spec.h"

namespace berth::shim {
namespace {

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

std::string from_start(int fd) {
  ::lseek(fd, 0, SEEK_SET);
  return read_all(fd, 64 << 10);
}

}  // namespace

Runtime::Runtime(Children* children, const RuntimeOptions& options, const std::string& ns,
                 std::string bundle)
    : children_(children),
      options_(options),
      root_(options.root + "/" + ns),
      bundle_(std::move(bundle)) {}

bool Runtime::native() const {
  const std::string_view binary = options_.binary;
  const std::string_view name = binary.substr(binary.rfind('/') + 1);
  return name == "runc" || name == "crun";
}

Status Runtime::run(std::string_view what, std::vector<std::string> arguments, RuntimeIo io) const {
  // The runtime opens its log by name; a file without one leaves nothing behind.
  BERTH_ASSIGN_OR_RETURN(const UniqueFd log, memory_file("runtime-log"));
  BERTH_ASSIGN_OR_RETURN(const UniqueFd output, memory_file("runtime-output"));
  Command command;
  command.program = options_.binary;
  command.directory = bundle_;
  command.arguments = {
      "--root",       root_,
      "--log",        "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(log.get()),
      "--log-format", "json"};
  if (options_.systemd_cgroup) command.arguments.emplace_back("--systemd-cgroup");
  for (std::string& argument : arguments) command.arguments.push_back(std::move(argument));
  command.in = io.in;
  command.out = io.out >= 0 ? io.out : output.get();
  command.err = io.err >= 0 ? io.err : output.get();
  const auto exit = children_->run(command);
  if (!exit.ok()) {
    return unknown_error(
        std::string(what) +
        ": unable to retrieve OCI runtime error (it has not run): " + exit.status().message());
  }
  if (exit->status == 0) return {};
  std::string words = last_error(from_start(log.get()));
  if (words.empty()) {
    words = options_.binary + " did not terminate successfully: exit status " +
            std::to_string(exit->status) + ": " + trimmed(from_start(output.get()));
  }
  constexpr uint32_t kSignals = 128;
  if (exit->status > kSignals && exit->status <= kSignals + 64) {
    return aborted(std::string(what) + ": " + options_.binary + " was killed by signal " +
                   std::to_string(exit->status - kSignals) + ": " + words);
  }
  return unknown_error(std::string(what) + ": " + words);
}

Status Runtime::run_to_end(std::string_view what, const std::vector<std::string>& arguments) const {
  constexpr int kAttempts = 5;
  Status status = run(what, arguments);
  for (int i = 1; i < kAttempts && status.code() == Code::kAborted; ++i) {
    status = run(what, arguments);
  }
  return status;
}

Status kill_error(const Status& failure) {
  const std::string& text = failure.message();
  if (failure.ok()) return failure;
  if (contains(text, "process already finished") || contains(text, "container not running") ||
      contains(text, "no such process")) {
    return not_found("process already finished: not found");
  }
  if (contains(text, "no such container") || contains(text, "does not exist")) {
    return not_found("no such container: not found");
  }
  return unknown_error("unknown error after kill: " + text);
}

std::string Runtime::state(const std::string& id) const {
  const auto output = memory_file("state");
  if (!output.ok() ||
      !run("OCI runtime state failed", {"state", id}, {-1, output->get(), -1}).ok()) {
    return {};
  }
  return json_member(from_start(output->get()), "status");
}

Status Runtime::kill(const std::string& id, uint32_t signal, bool all) const {
  std::vector<std::string> arguments = {"kill"};
  if (all) arguments.emplace_back("--all");
  arguments.insert(arguments.end(), {id, std::to_string(signal)});
  // For all processes runc freezes the container; one that was killed has left it so, and what is
  // frozen does not die.
  return kill_error(run_to_end("OCI runtime kill failed", arguments));
}

Status Runtime::remove(const std::string& id, bool force) const {
  std::vector<std::string> arguments = {"delete"};
  if (force) arguments.emplace_back("--force");
  arguments.push_back(id);
  // Half of it may be gone, which the next one does not mind.
  const Status status = run_to_end("OCI runtime delete failed", arguments);
  if (contains(status.message(), "does not exist")) return {};
  // Each runtime has its own words for a state that is gone, as after one that was killed.
  if (!status.ok() && ::access(state_of(id).c_str(), F_OK) != 0 && errno == ENOENT) return {};
  return status;
}

}  // namespace berth::shim
