#include <berth/program_file.h>
#include <berth/shim_client/launcher.h>
#include <berth/shim_client/program.h>
#include <berth/ttrpc/loop.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "containerd/runtime/task/v2/shim.pb.h"
#include "containerd/types/introspection.pb.h"

namespace berth::shim_client {
namespace {

constexpr int kKilled = 128;  // and the signal's number

// Another one after an upgrade of the package.
std::string identity(const std::string& path) {
  const auto found = file_identity(path);
  return found.ok() ? path + ":" + *found : path;
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (true) {
    const size_t end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

int64_t soon(std::chrono::nanoseconds timeout) { return ttrpc::monotonic_ns() + timeout.count(); }

// The program's own words first: clients print them, and tests of runtimes compare them.
Status failure(const std::string& binary, const std::string& action,
               const ProgramOutcome& outcome) {
  const std::string words = trimmed(outcome.errors.empty() ? outcome.output : outcome.errors);
  return unknown_error((words.empty() ? binary + " " + action : words) + ": exit status " +
                       std::to_string(outcome.exit_status));
}

// BootstrapParams came with containerd 2.3.
bool is_params_version(std::string_view version) {
  if (version.starts_with("v")) version.remove_prefix(1);
  int major = 0;
  int minor = 0;
  const char* const end = version.data() + version.size();
  const auto [after_major, error] = std::from_chars(version.data(), end, major);
  if (error != std::errc() || after_major == end || *after_major != '.') return false;
  if (std::from_chars(after_major + 1, end, minor).ec != std::errc()) return false;
  return major > 2 || (major == 2 && minor >= 3);
}

}  // namespace

ExitStatus killed_now(uint32_t pid) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return {pid, 128 + 9, now.tv_sec, static_cast<int32_t>(now.tv_nsec)};
}

std::string shim_binary_name(std::string_view runtime) {
  const auto parts = split(runtime, '.');
  if (parts.size() < 2) return {};
  if (std::any_of(parts.begin(), parts.end(),
                  [](const std::string& part) { return part.empty(); })) {
    return {};
  }
  return "containerd-shim-" + parts[parts.size() - 2] + "-" + parts.back();
}

Result<std::string> ShimLauncher::resolve(const std::string& runtime) const {
  if (runtime.empty()) return unknown_error("no runtime name");
  if (runtime.starts_with("/")) {
    if (is_program(runtime)) return runtime;
    return unknown_error("invalid custom binary path: " + runtime + ": it is not a program");
  }
  const std::string name =
      runtime.find('/') == std::string::npos ? shim_binary_name(runtime) : std::string();
  if (name.empty()) {
    return unknown_error("invalid runtime name " + runtime +
                         ", correct runtime name should be either format like "
                         "`io.containerd.runc.v2` or a full path to the binary");
  }
  std::vector<std::string> folders = settings_.shim_path;
  folders.insert(folders.end(), settings_.own.begin(), settings_.own.end());
  for (std::string& folder : split(settings_.path, ':')) folders.push_back(std::move(folder));
  folders.push_back(settings_.beside);
  for (const std::string& folder : folders) {
    const std::string path = folder + "/" + name;
    if (folder.starts_with("/") && is_program(path)) return path;
  }
  return unknown_error("runtime \"" + runtime + "\" binary not installed \"" + name +
                       "\": file does not exist");
}

std::vector<std::string> ShimLauncher::environment_of(const std::string& ns) const {
  std::vector<std::string> variables;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    // The daemon's own business with its service manager; a shim that answered for it would confuse
    // both.
    if (!text.starts_with("NOTIFY_SOCKET=") && !text.starts_with("LISTEN_"))
      variables.emplace_back(text);
  }
  variables.insert(variables.end(), {"GOMAXPROCS=2", "MAX_SHIM_VERSION=2",
                                     "TTRPC_ADDRESS=" + settings_.ttrpc_address,
                                     "GRPC_ADDRESS=" + settings_.address, "NAMESPACE=" + ns});
  variables.insert(variables.end(), settings_.environment.begin(), settings_.environment.end());
  // Of a variable that occurs twice programs see either one: keep the last.
  std::vector<std::string> unique;
  for (auto entry = variables.rbegin(); entry != variables.rend(); ++entry) {
    const std::string prefix = entry->substr(0, entry->find('=') + 1);
    const bool known = std::any_of(unique.begin(), unique.end(), [&](const std::string& other) {
      return other.starts_with(prefix);
    });
    if (!known) unique.push_back(*entry);
  }
  return unique;
}

std::vector<std::string> ShimLauncher::arguments(const TaskKey& key) const {
  std::vector<std::string> list = {"-namespace",
                                   key.ns,
                                   "-address",
                                   settings_.address,
                                   "-publish-binary",
                                   settings_.publish_binary,
                                   "-id",
                                   key.id};
  if (settings_.debug) list.emplace_back("-debug");
  return list;
}

bool ShimLauncher::wants_params(const std::string& binary,
                                const std::function<bool()>& cancelled) const {
  const std::string file = identity(binary);
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = wants_params_.find(file); found != wants_params_.end())
      return found->second;
  }
  bool wants = false;
  // Not `-info`: that runs the OCI runtime as well. "-v" prints "  Version:  2.1.9".
  const auto outcome = run_program({binary, {"-v"}, environment_of("default"), "", ""},
                                   soon(settings_.start_timeout), cancelled);
  if (!outcome.ok()) return false;  // no answer is nothing to remember
  if (outcome->exit_status == 0) {
    const std::string_view text = outcome->output;
    if (const size_t at = text.find("Version:"); at != std::string_view::npos) {
      const size_t begin = text.find_first_not_of(' ', at + 8);
      if (begin != std::string_view::npos) wants = is_params_version(text.substr(begin));
    }
  }
  const std::lock_guard lock(mutex_);
  return wants_params_[file] = wants;
}

Result<Bootstrap> ShimLauncher::start(const Bundle& bundle, const std::string& binary,
                                      const std::string& options, int64_t deadline_ns,
                                      const std::function<bool()>& cancelled,
                                      const std::vector<std::string>& environment) const {
  Program program{binary, arguments(bundle.key()), environment_of(bundle.key().ns), bundle.path(),
                  options};
  program.environment.insert(program.environment.end(), environment.begin(), environment.end());
  program.arguments.emplace_back("start");
  if (wants_params(binary, cancelled)) {
    program.input = BootstrapParams{bundle.key(),
                                    settings_.debug,
                                    settings_.daemon_version,
                                    settings_.ttrpc_address,
                                    settings_.address,
                                    settings_.publish_binary,
                                    options}
                        .serialize();
  }
  auto outcome =
      run_program(program, std::min(deadline_ns, soon(settings_.start_timeout)), cancelled);
  if (!outcome.ok()) return outcome.status();
  if (outcome->exit_status != 0) return failure(binary, "start", *outcome);
  return parse_bootstrap(outcome->output);
}

Result<ExitStatus> ShimLauncher::remove(const Bundle& bundle, const std::string& binary) const {
  Program program{binary, arguments(bundle.key()), environment_of(bundle.key().ns), bundle.path(),
                  ""};
  program.arguments.insert(program.arguments.end(), {"-bundle", bundle.path(), "delete"});
  auto outcome = run_program(program, soon(settings_.delete_timeout));
  if (!outcome.ok()) return outcome.status();
  if (outcome->exit_status > kKilled) {
    return aborted(binary + " delete: it was killed by signal " +
                   std::to_string(outcome->exit_status - kKilled));
  }
  if (outcome->exit_status != 0) return failure(binary, "delete", *outcome);
  containerd::task::v2::DeleteResponse response;
  if (!response.ParseFromString(outcome->output)) {
    return internal_error(binary + " delete: its output is no DeleteResponse");
  }
  ExitStatus exit = killed_now(response.pid());
  exit.status = response.exit_status();
  if (response.has_exited_at()) {
    exit.seconds = response.exited_at().seconds();
    exit.nanos = response.exited_at().nanos();
  }
  return exit;
}

Result<std::string> ShimLauncher::info(const std::string& binary,
                                       const std::string& options) const {
  auto outcome = run_program({binary, {"-info"}, environment_of("default"), "", options},
                             soon(settings_.start_timeout));
  if (!outcome.ok()) return outcome.status();
  if (outcome->exit_status != 0 &&
      outcome->errors.find("not defined: -info") != std::string::npos) {
    return unimplemented(binary + " -info: this shim is too old to describe itself");
  }
  if (outcome->exit_status != 0) return failure(binary, "-info", *outcome);
  if (!containerd::types::RuntimeInfo().ParseFromString(outcome->output)) {
    return internal_error(binary + " -info: its output is no RuntimeInfo");
  }
  return std::move(outcome->output);
}

}  // namespace berth::shim_client
