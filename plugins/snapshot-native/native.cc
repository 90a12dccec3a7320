#include "native.h"

#include <berth/file_tree.h>
#include <sys/stat.h>

#include "copy_tree.h"

namespace berth::native {

namespace {
constexpr const char* kScratch = "links";
}

Status Native::open() {
  // What a copy left when the daemon died.
  BERTH_RETURN_IF_ERROR(remove_tree(absolute(kScratch)));
  BERTH_RETURN_IF_ERROR(make_directories(absolute(kScratch), 0700));
  return Snapshotter::open();
}

std::vector<std::string> Native::folders() const { return {"snapshots"}; }

std::string Native::place(const SnapshotRecord& record) const {
  if (record.kind == SnapshotKind::kView && !record.parent.empty()) return {};
  return "snapshots/" + std::to_string(record.id);
}

Status Native::make_tree(const Snapshot& snapshot) {
  const std::string tree = absolute(place(snapshot.record));
  if (::mkdir(tree.c_str(), 0755) != 0 || ::chmod(tree.c_str(), 0755) != 0) {
    return errno_status(errno, "make directory " + tree);
  }
  if (snapshot.parents.empty()) return {};
  return copy_tree(absolute("snapshots/" + std::to_string(snapshot.parents.front())), tree,
                   absolute(kScratch));
}

// With a parent it has that one's files from the beginning.
Status Native::sync_made(const Snapshot& snapshot) const {
  return snapshot.parents.empty() ? Snapshotter::sync_made(snapshot) : sync_tree(snapshot);
}

Result<Snapshotter::MountList> Native::mounts_of(const Snapshot& snapshot) const {
  const bool active = snapshot.record.kind == SnapshotKind::kActive;
  const uint64_t id =
      active || snapshot.parents.empty() ? snapshot.record.id : snapshot.parents.front();
  containerd::types::Mount mount;
  mount.set_type("bind");
  mount.set_source(absolute("snapshots/" + std::to_string(id)));
  mount.add_options("rbind");
  mount.add_options(active ? "rw" : "ro");
  return MountList{std::move(mount)};
}

}  // namespace berth::native
