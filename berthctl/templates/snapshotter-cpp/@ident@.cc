#include "@ident@.h"

#include <berth/file_tree.h>
#include <sys/stat.h>
#include <unistd.h>

namespace @ident@_plugin {
namespace {

berth::Status make_directory(const std::string& path, mode_t mode) {
  // chmod, since the mode must not depend on the umask of the daemon.
  if (::mkdir(path.c_str(), mode) != 0 || ::chmod(path.c_str(), mode) != 0) {
    return berth::errno_status(errno, "make directory " + path);
  }
  return {};
}

containerd::types::Mount mount(const std::string& type, const std::string& source,
                               const std::vector<std::string>& options) {
  containerd::types::Mount mount;
  mount.set_type(type);
  mount.set_source(source);
  for (const std::string& option : options) mount.add_options(option);
  return mount;
}

}  // namespace

std::vector<std::string> @Class@::folders() const { return {"snapshots"}; }

std::string @Class@::place(const berth::SnapshotRecord& record) const {
  return "snapshots/" + std::to_string(record.id);
}

berth::Status @Class@::make_tree(const berth::Snapshot& snapshot) {
  BERTH_RETURN_IF_ERROR(make_directory(absolute(place(snapshot.record)), 0700));
  const std::string own = upper(snapshot.record.id);
  BERTH_RETURN_IF_ERROR(make_directory(own, 0755));
  if (snapshot.record.kind == berth::SnapshotKind::kActive) {
    BERTH_RETURN_IF_ERROR(make_directory(work(snapshot.record.id), 0711));
  }
  if (snapshot.parents.empty()) return {};
  // The upper directory is the root of what is mounted and hides the parent's: it has to look alike.
  struct stat parent {};
  const std::string path = upper(snapshot.parents.front());
  if (::stat(path.c_str(), &parent) != 0) return berth::errno_status(errno, "look at layer " + path);
  if (::lchown(own.c_str(), parent.st_uid, parent.st_gid) != 0 ||
      ::chmod(own.c_str(), parent.st_mode & 07777) != 0) {
    return berth::errno_status(errno, "give " + own + " the owner and mode of its parent");
  }
  return {};
}

berth::Result<@Class@::MountList> @Class@::mounts_of(const berth::Snapshot& snapshot) const {
  const bool writable = snapshot.record.kind == berth::SnapshotKind::kActive;
  const char* mode = writable ? "rw" : "ro";
  // overlayfs wants a lower layer, and for reading one layer there is nothing to stack.
  if (snapshot.parents.empty()) {
    return MountList{mount("bind", upper(snapshot.record.id), {mode, "rbind"})};
  }
  if (!writable && snapshot.parents.size() == 1) {
    return MountList{mount("bind", upper(snapshot.parents.front()), {mode, "rbind"})};
  }
  std::vector<std::string> options;
  if (writable) {
    options.push_back("workdir=" + work(snapshot.record.id));
    options.push_back("upperdir=" + upper(snapshot.record.id));
  }
  std::string lower;
  for (const uint64_t id : snapshot.parents) lower += (lower.empty() ? "" : ":") + upper(id);
  options.push_back("lowerdir=" + lower);
  return MountList{mount("overlay", "overlay", options)};
}

berth::Result<berth::SnapshotUsage> @Class@::measure(const berth::Snapshot& snapshot,
                                                     const Cancelled& cancelled) const {
  BERTH_ASSIGN_OR_RETURN(const berth::TreeUsage usage,
                         berth::tree_usage(upper(snapshot.record.id), cancelled));
  return berth::SnapshotUsage{usage.bytes, usage.inodes};
}

}  // namespace @ident@_plugin
