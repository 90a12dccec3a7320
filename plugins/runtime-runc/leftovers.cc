#include "leftovers.h"

#include <berth/shim_client/program.h>
#include <berth/ttrpc/loop.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

namespace berth::runtime {
namespace {

struct OciRuntime {
  std::string program = "runc";
  std::string root = "/run/containerd/runc";  // the namespace is added below it
  bool systemd_cgroup = false;
};

OciRuntime runtime_of(const shim_client::Bundle& bundle) {
  OciRuntime out;
  if (auto program = bundle.read("runtime"); program.ok() && !program->empty()) {
    out.program = *std::move(program);
  }
  const auto text = bundle.read("options.json");
  if (!text.ok()) return out;
  const auto options = nlohmann::json::parse(*text, nullptr, false);
  if (!options.is_object()) return out;
  if (const auto root = options.find("root");
      root != options.end() && root->is_string() && !root->get_ref<const std::string&>().empty()) {
    out.root = *root;
  }
  const auto systemd = options.find("systemd_cgroup");
  out.systemd_cgroup = systemd != options.end() && *systemd == true;
  return out;
}

std::string found_in(const std::string& path, const std::string& program) {
  if (program.find('/') != std::string::npos) return program;
  std::istringstream folders(path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::string candidate = folder + "/" + program;
    if (!folder.empty() && ::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return program;
}

}  // namespace

Status remove_by_runtime(const shim_client::Bundle& bundle, const std::string& path,
                         std::chrono::nanoseconds timeout) {
  const OciRuntime runtime = runtime_of(bundle);
  const std::string& id = bundle.key().id;
  const std::string states = runtime.root + "/" + bundle.key().ns;
  const std::string state = states + "/" + id;
  std::error_code error;
  if (!std::filesystem::exists(state, error) && !error) return {};

  shim_client::Program program{found_in(path, runtime.program), {"--root", states}, {}, "", ""};
  if (runtime.systemd_cgroup) program.arguments.emplace_back("--systemd-cgroup");
  program.environment = {"PATH=" + path};
  const auto run = [&](const std::vector<std::string>& words) {
    shim_client::Program command = program;
    command.arguments.insert(command.arguments.end(), words.begin(), words.end());
    return shim_client::run_program(command, ttrpc::monotonic_ns() + timeout.count());
  };
  // What is frozen does not die, and what is not is none the worse for it.
  (void)run({"resume", id});
  const auto outcome = run({"delete", "--force", id});
  if (outcome.ok() && outcome->exit_status == 0) return {};
  std::string why = outcome.ok() ? outcome->errors : outcome.status().message();
  while (why.ends_with('\n')) why.pop_back();
  std::string command = program.path;
  for (const std::string& word : program.arguments) command += " " + word;
  return unavailable("container " + id + " is left, and its processes may run on: " + why +
                     "; its state is in " + state + ": end and remove it by \"" + command +
                     " delete --force " + id + "\"");
}

}  // namespace berth::runtime
