#include "validate/kits/shim_leftovers.h"

#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

namespace berth::ctl::validate {
namespace {

namespace fs = std::filesystem;

/// Where the hierarchies of cgroups are mounted, of both versions.
std::vector<std::string> hierarchies() {
  std::vector<std::string> found;
  std::ifstream table("/proc/self/mounts");
  std::string source, point, type, rest;
  while (table >> source >> point >> type && std::getline(table, rest)) {
    if (type == "cgroup" || type == "cgroup2") found.push_back(point);
  }
  return found;
}

/// Files of cgroups take what they take, or refuse it.
void put(const fs::path& file, const std::string& text) {
  if (fs::exists(file)) std::ofstream(file) << text << std::flush;
}

void kill_all_in(const fs::path& folder) {
  std::ifstream processes(folder / "cgroup.procs");
  for (pid_t pid = 0; processes >> pid;) {
    if (pid > 0) ::kill(pid, SIGKILL);
  }
}

/// This folder and those below it, which come first.
std::vector<fs::path> with_below(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (!entry.is_directory(error)) continue;
    const auto below = with_below(entry.path());
    found.insert(found.end(), below.begin(), below.end());
  }
  found.push_back(folder);
  return found;
}

void remove_cgroup(const fs::path& folder) {
  // Busy as long as what was killed has not ended.
  for (int i = 0; i < 200 && ::rmdir(folder.c_str()) != 0 && errno == EBUSY; ++i) {
    kill_all_in(folder);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

void clean_up_after(const shim_client::ShimLauncher& launcher, const shim_client::Bundle& bundle,
                    const std::string& program) {
  (void)launcher.remove(bundle, program);
  remove_cgroups_of(bundle.key().id);
  // A shim's program that cannot clean up leaves its socket, too.
  if (const auto bootstrap = shim_client::read_bootstrap(bundle); bootstrap.ok()) {
    if (const auto socket = bootstrap->socket_path(); socket.ok()) (void)::unlink(socket->c_str());
  }
  (void)bundle.remove();
}

}  // namespace

std::string cgroup_of(const std::string& id) { return "/berth-" + id; }

std::vector<std::string> cgroups_of(const std::string& id) {
  std::vector<std::string> found;
  std::error_code error;
  for (const std::string& root : hierarchies()) {
    const std::string folder = root + cgroup_of(id);
    if (fs::is_directory(folder, error)) found.push_back(folder);
  }
  return found;
}

void remove_cgroups_of(const std::string& id) {
  std::vector<fs::path> folders;
  for (const std::string& root : cgroups_of(id)) {
    const auto found = with_below(root);
    folders.insert(folders.end(), found.begin(), found.end());
  }
  // All of them are busy until it has thawed, and one hierarchy alone can freeze. What was killed
  // before does nothing more then.
  for (const fs::path& folder : folders) kill_all_in(folder);
  for (const fs::path& folder : folders) {
    put(folder / "freezer.state", "THAWED");
    put(folder / "cgroup.freeze", "0");
  }
  for (const fs::path& folder : folders) remove_cgroup(folder);
}

shim_client::BundleRoots roots_in(const std::string& directory) {
  return {directory + "/state", directory + "/root"};
}

shim_client::LauncherSettings launcher_settings_in(const std::string& directory) {
  shim_client::LauncherSettings settings;
  settings.path = "/usr/sbin:/usr/bin:/sbin:/bin";
  settings.address = directory + "/berthd.sock";
  settings.ttrpc_address = settings.address + ".ttrpc";
  settings.publish_binary = "/bin/true";
  settings.daemon_version = "0.0.0";
  return settings;
}

void clean_up_after_shims(const std::string& temporary, const std::string& program) {
  std::error_code error;
  for (const auto& directory : fs::directory_iterator(temporary, error)) {
    const auto roots = roots_in(directory.path());
    const shim_client::ShimLauncher launcher(launcher_settings_in(directory.path()));
    std::vector<std::string> ids;
    for (const auto& entry : fs::directory_iterator(roots.state + "/" + kShimNamespace, error)) {
      ids.push_back(entry.path().filename());
    }
    for (const std::string& id : ids) {
      clean_up_after(launcher, shim_client::Bundle(roots, {kShimNamespace, id}), program);
    }
  }
}

}  // namespace berth::ctl::validate
