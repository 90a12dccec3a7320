#include <berth/fault.h>
#include <berth/shim_client/bundle.h>
#include <berth/shim_client/mounts.h>
#include <berth/spawn.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <cctype>
#include <filesystem>
#include <nlohmann/json.hpp>

namespace berth::shim_client {
namespace {

constexpr size_t kMaxIdentifier = 76;
constexpr size_t kMaxFile = 16u << 20;

Status make_directory(const std::string& path, mode_t mode) {
  if (::mkdir(path.c_str(), mode) != 0) return errno_status(errno, "make the directory " + path);
  // The umask has its say in mkdir.
  if (::chmod(path.c_str(), mode) != 0) return errno_status(errno, "set the mode of " + path);
  return {};
}

Status make_parent(const std::string& path, mode_t mode) {
  const Status made = make_directory(path, mode);
  return made.code() == Code::kAlreadyExists ? Status() : made;
}

}  // namespace

Status remove_tree(const std::string& path) {
  const std::filesystem::path original(path);
  const std::filesystem::path hidden =
      original.parent_path() / ("." + original.filename().string());
  std::error_code error;
  std::filesystem::remove_all(hidden, error);  // of an earlier attempt that was cut short
  if (::rename(original.c_str(), hidden.c_str()) != 0) {
    if (errno == ENOENT) return {};
    return errno_status(errno, "remove " + path + ": rename it to " + hidden.string());
  }
  BERTH_FAULT_POINT("daemon.bundle.hidden");
  std::filesystem::remove_all(hidden, error);
  if (error) return errno_status(error.value(), "remove " + hidden.string());
  return {};
}

Status validate_identifier(std::string_view what, std::string_view id) {
  const auto invalid = [&](const std::string& why) {
    return invalid_argument(std::string(what) + " \"" + std::string(id.substr(0, 128)) + "\" " +
                            why + ": invalid argument");
  };
  if (id.empty()) return invalid("must not be empty");
  if (id.size() > kMaxIdentifier) {
    return invalid("is longer than " + std::to_string(kMaxIdentifier) + " bytes");
  }
  bool separator = true;  // one may stand neither first nor after another
  for (const char c : id) {
    const bool alphanumeric = std::isalnum(static_cast<unsigned char>(c)) != 0;
    if (!alphanumeric && (separator || (c != '.' && c != '_' && c != '-'))) {
      return invalid("must be letters and digits with single separators . _ - between them");
    }
    separator = !alphanumeric;
  }
  if (separator) return invalid("must not end with a separator");
  return {};
}

gid_t container_root_group(std::string_view spec) {
  // Parsing costs more than everything else here, and few containers have a user namespace.
  if (spec.find("gidMappings") == std::string_view::npos) return 0;
  const auto json = nlohmann::json::parse(spec, nullptr, false);
  if (!json.is_object() || !json.contains("linux") || !json["linux"].is_object()) return 0;
  const auto& settings = json["linux"];
  if (!settings.contains("gidMappings") || !settings["gidMappings"].is_array()) return 0;
  for (const auto& mapping : settings["gidMappings"]) {
    if (!mapping.is_object()) continue;
    const auto number = [&](const char* key) -> int64_t {
      return mapping.contains(key) && mapping[key].is_number_integer() ? mapping[key].get<int64_t>()
                                                                       : 0;
    };
    if (number("containerID") == 0 && number("size") > 0 && number("hostID") > 0) {
      return static_cast<gid_t>(number("hostID"));
    }
  }
  return 0;
}

Bundle::Bundle(const BundleRoots& roots, TaskKey key)
    : key_(std::move(key)),
      path_(roots.state + "/" + key_.ns + "/" + key_.id),
      work_(roots.root + "/" + key_.ns + "/" + key_.id) {}

Result<Bundle> Bundle::create(const BundleRoots& roots, const TaskKey& key, std::string_view spec) {
  BERTH_RETURN_IF_ERROR(validate_identifier("task id", key.id));
  BERTH_RETURN_IF_ERROR(validate_identifier("namespace", key.ns));
  const Bundle bundle(roots, key);
  // 0711: a container root of a user namespace passes through these on its way to its rootfs.
  BERTH_RETURN_IF_ERROR(make_parent(roots.state + "/" + key.ns, 0711));
  BERTH_RETURN_IF_ERROR(make_parent(roots.root + "/" + key.ns, 0711));
  if (Status made = make_directory(bundle.path_, 0700); !made.ok()) return made;
  Cleanup undo([&] { (void)bundle.remove(); });
  BERTH_FAULT_POINT("daemon.bundle.made");
  if (const gid_t group = container_root_group(spec); group != 0) {
    if (::chown(bundle.path_.c_str(), static_cast<uid_t>(-1), group) != 0 ||
        ::chmod(bundle.path_.c_str(), 0710) != 0) {
      return errno_status(errno, "open " + bundle.path_ + " to group " + std::to_string(group));
    }
  }
  BERTH_RETURN_IF_ERROR(make_directory(bundle.rootfs(), 0711));
  if (Status made = make_directory(bundle.work_, 0711); !made.ok()) {
    if (made.code() != Code::kAlreadyExists) return made;
    BERTH_RETURN_IF_ERROR(remove_tree(bundle.work_));  // a task of before a reboot
    BERTH_RETURN_IF_ERROR(make_directory(bundle.work_, 0711));
  }
  if (::symlink(bundle.work_.c_str(), bundle.file("work").c_str()) != 0) {
    return errno_status(errno, "link " + bundle.file("work"));
  }
  BERTH_FAULT_POINT("daemon.bundle.linked");
  if (!spec.empty()) BERTH_RETURN_IF_ERROR(bundle.write("config.json", spec, 0644));
  undo.dismiss();
  return bundle;
}

Status Bundle::write(std::string_view name, std::string_view bytes, mode_t mode) const {
  const std::string path = file(name);
  const std::string temporary = file("." + std::string(name) + ".new");
  {
    const UniqueFd fd(
        ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode));
    if (!fd) return errno_status(errno, "write " + temporary);
    BERTH_RETURN_IF_ERROR(write_all(fd.get(), bytes, temporary));
  }
  // No fsync: the directory is in memory, and what it tells about is gone with the machine.
  if (::rename(temporary.c_str(), path.c_str()) != 0) return errno_status(errno, "write " + path);
  return {};
}

Result<std::string> Bundle::read(std::string_view name) const {
  const std::string path = file(name);
  // Non-blocking: a fifo in the place of a file must not hold the daemon up.
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd) return errno_status(errno, "read " + path);
  std::string out;
  std::array<char, 4096> buffer;
  while (out.size() <= kMaxFile) {
    const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_status(errno, "read " + path);
    if (got == 0) return out;
    out.append(buffer.data(), static_cast<size_t>(got));
  }
  return out_of_range("read " + path + ": it is longer than " + std::to_string(kMaxFile) +
                      " bytes");
}

Status Bundle::remove() const {
  BERTH_RETURN_IF_ERROR(unmount_below(rootfs()).with_context("remove the bundle " + path_));
  // rmdir, not a recursive removal: data behind a mount that is still there is the container's.
  if (::rmdir(rootfs().c_str()) != 0 && errno != ENOENT) {
    return errno_status(errno, "remove the bundle's " + rootfs());
  }
  BERTH_FAULT_POINT("daemon.bundle.unmounted");
  const Status removed = remove_tree(path_);
  BERTH_FAULT_POINT("daemon.bundle.removed");
  const Status work_removed = remove_tree(work_);
  return removed.ok() ? work_removed : removed;
}

}  // namespace berth::shim_client
