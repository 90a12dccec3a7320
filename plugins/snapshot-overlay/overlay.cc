#include "overlay.h"

#include <berth/file_tree.h>
#include <sys/stat.h>
#include <unistd.h>

namespace berth::overlay {
namespace {

constexpr std::string_view kUpperdirLabel = "containerd.io/snapshot/overlay.upperdir";

containerd::types::Mount bind_mount(const std::string& source, std::vector<std::string> options,
                                    bool writable) {
  containerd::types::Mount mount;
  mount.set_type("bind");
  mount.set_source(source);
  for (std::string& option : options) mount.add_options(std::move(option));
  mount.add_options(writable ? "rw" : "ro");
  mount.add_options("rbind");
  return mount;
}

// chmod: the mode must not depend on the umask of the process.
Status make_directory(const std::string& path, mode_t mode) {
  if (::mkdir(path.c_str(), mode) != 0 || ::chmod(path.c_str(), mode) != 0) {
    return errno_status(errno, "make directory " + path);
  }
  return {};
}

}  // namespace

Overlay::Overlay(Options options)
    : Snapshotter(std::move(options.common)),
      upperdir_label_(options.upperdir_label),
      remap_ids_(options.remap_ids),
      mount_options_(std::move(options.mount_options)) {}

Status Overlay::open() {
  BERTH_RETURN_IF_ERROR(Snapshotter::open());
  mount_options_ = with_needed_options(std::move(mount_options_), in_user_namespace(),
                                       kernel_has_parameter("index"));
  return {};
}

std::vector<std::string> Overlay::folders() const { return {"snapshots"}; }

std::string Overlay::place(const SnapshotRecord& record) const {
  return "snapshots/" + std::to_string(record.id);
}

std::string Overlay::upper_path(uint64_t id) const {
  return absolute("snapshots/" + std::to_string(id) + "/fs");
}

std::string Overlay::work_path(uint64_t id) const {
  return absolute("snapshots/" + std::to_string(id) + "/work");
}

Status Overlay::make_tree(const Snapshot& snapshot) {
  BERTH_ASSIGN_OR_RETURN(auto owner, mapped_root(snapshot.record.labels));
  mode_t mode = 0755;
  if (!snapshot.parents.empty()) {
    // The upper directory is the root directory of what is mounted and hides the parent's: it has
    // to look like that one.
    struct stat parent {};
    const std::string path = upper_path(snapshot.parents.front());
    if (::stat(path.c_str(), &parent) != 0) return errno_status(errno, "stat parent layer " + path);
    mode = parent.st_mode & 07777;
    if (!owner) owner = Owner{parent.st_uid, parent.st_gid};
  }
  const std::string upper = upper_path(snapshot.record.id);
  BERTH_RETURN_IF_ERROR(make_directory(absolute(place(snapshot.record)), 0700));
  BERTH_RETURN_IF_ERROR(make_directory(upper, 0755));
  if (snapshot.record.kind == SnapshotKind::kActive) {
    BERTH_RETURN_IF_ERROR(make_directory(work_path(snapshot.record.id), 0711));
  }
  if (owner && ::lchown(upper.c_str(), owner->uid, owner->gid) != 0) {
    return errno_status(errno, "give directory " + upper + " to user " +
                                   std::to_string(owner->uid) + ", group " +
                                   std::to_string(owner->gid));
  }
  // After chown, which takes set-id bits away.
  if (mode != 0755 && ::chmod(upper.c_str(), mode) != 0) {
    return errno_status(errno, "set the mode of directory " + upper);
  }
  return {};
}

// The order of the options is that of containerd: clients compare and parse them.
Result<Snapshotter::MountList> Overlay::mounts_of(const Snapshot& snapshot) const {
  const SnapshotRecord& record = snapshot.record;
  std::vector<std::string> options;
  if (remap_ids_) {
    const auto add = [&](std::string_view label, const char* option) {
      const auto found = record.labels.find(label);
      if (found != record.labels.end()) options.push_back(option + found->second);
    };
    add(kUidMappingLabel, "uidmap=");
    add(kGidMappingLabel, "gidmap=");
  }
  const bool active = record.kind == SnapshotKind::kActive;
  // overlayfs wants a lower layer, and for reading one layer there is nothing to stack.
  if (snapshot.parents.empty()) {
    return MountList{bind_mount(upper_path(record.id), std::move(options), active)};
  }
  if (!active && snapshot.parents.size() == 1) {
    return MountList{bind_mount(upper_path(snapshot.parents.front()), std::move(options), false)};
  }

  containerd::types::Mount mount;
  mount.set_type("overlay");
  mount.set_source("overlay");
  for (std::string& option : options) mount.add_options(std::move(option));
  if (active) {
    mount.add_options("workdir=" + work_path(record.id));
    mount.add_options("upperdir=" + upper_path(record.id));
  }
  std::string lower = "lowerdir=";
  for (const uint64_t id : snapshot.parents) {
    if (id != snapshot.parents.front()) lower += ':';
    lower += upper_path(id);
  }
  mount.add_options(std::move(lower));
  for (const std::string& option : mount_options_) mount.add_options(option);
  return MountList{std::move(mount)};
}

Status Overlay::sync_tree(const Snapshot& snapshot) const {
  return sync_file_system(upper_path(snapshot.record.id));
}

Result<SnapshotUsage> Overlay::measure(const Snapshot& snapshot, const Cancelled& cancelled) const {
  BERTH_ASSIGN_OR_RETURN(const TreeUsage usage,
                         tree_usage(upper_path(snapshot.record.id), cancelled));
  return SnapshotUsage{usage.bytes, usage.inodes};
}

void Overlay::add_labels(const SnapshotRecord& record, SnapshotLabels* labels) const {
  if (upperdir_label_) (*labels)[std::string(kUpperdirLabel)] = upper_path(record.id);
}

}  // namespace berth::overlay
