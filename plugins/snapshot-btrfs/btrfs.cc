#include "btrfs.h"

#include <berth/file_tree.h>
#include <btrfsutil.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

#include "changed_usage.h"

namespace berth::btrfs {
namespace {

// libbtrfsutil sets errno along with its own codes.
Status failed(btrfs_util_error error, int saved_errno, const std::string& attempt) {
  return {code_of_errno(saved_errno),
          attempt + ": " + btrfs_util_strerror(error) + ": " + std::strerror(saved_errno)};
}

Status make_snapshot(const std::string& source, const std::string& target, bool read_only) {
  const btrfs_util_error error = btrfs_util_create_snapshot(
      source.c_str(), target.c_str(), read_only ? BTRFS_UTIL_CREATE_SNAPSHOT_READ_ONLY : 0, nullptr,
      nullptr);
  if (error != BTRFS_UTIL_OK) {
    return failed(error, errno, "make btrfs snapshot " + target + " of " + source);
  }
  return {};
}

// mountinfo writes space, tab, newline and backslash as \ooo.
std::string unescaped(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                 (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  while (!line.empty()) {
    const size_t space = line.find(' ');
    words.push_back(line.substr(0, space));
    if (space == std::string_view::npos) break;
    line.remove_prefix(space + 1);
  }
  return words;
}

}  // namespace

Status check_support(const std::string& directory) {
  struct statfs status {};
  if (::statfs(directory.c_str(), &status) != 0) {
    return errno_status(errno, "find out the file system of " + directory);
  }
  if (static_cast<unsigned long>(status.f_type) != BTRFS_SUPER_MAGIC) {
    return failed_precondition(directory +
                               " is not on btrfs; mount one there, or set root_path to a directory "
                               "on btrfs, to use this snapshotter");
  }
  return {};
}

Result<std::string> device_of(const std::string& directory, std::string_view mountinfo) {
  std::string device;
  size_t longest = 0;
  while (!mountinfo.empty()) {
    const size_t newline = mountinfo.find('\n');
    const auto words = words_of(mountinfo.substr(0, newline));
    mountinfo.remove_prefix(newline == std::string_view::npos ? mountinfo.size() : newline + 1);
    // ID PARENT MAJOR:MINOR ROOT MOUNTPOINT OPTIONS TAG* - TYPE SOURCE SUPEROPTIONS
    const auto dash = std::find(words.begin(), words.end(), "-");
    if (words.size() < 5 || words.end() - dash < 3) continue;
    const std::string point = unescaped(words[4]);
    const bool above = point == "/" || directory == point || directory.starts_with(point + "/");
    // Of two mounts on one point the later line is the one that is seen.
    if (!above || point.size() < longest) continue;
    longest = point.size();
    device = unescaped(*(dash + 2));
  }
  if (device.empty()) return not_found("no mount in /proc/self/mountinfo holds " + directory);
  return device;
}

Status Btrfs::open() {
  BERTH_RETURN_IF_ERROR(make_directories(options().root, 0700));
  BERTH_RETURN_IF_ERROR(check_support(options().root));
  const std::unique_ptr<char, decltype(&std::free)> real(
      ::realpath(options().root.c_str(), nullptr), &std::free);
  if (!real) return errno_status(errno, "resolve " + options().root);
  std::ifstream file("/proc/self/mountinfo");
  const std::string mountinfo{std::istreambuf_iterator<char>(file), {}};
  BERTH_ASSIGN_OR_RETURN(device_, device_of(real.get(), mountinfo));
  return Snapshotter::open();
}

std::vector<std::string> Btrfs::folders() const { return {"active", "view", "snapshots"}; }

std::string Btrfs::place(const SnapshotRecord& record) const {
  const std::string id = std::to_string(record.id);
  switch (record.kind) {
    case SnapshotKind::kActive:
      return "active/" + id;
    case SnapshotKind::kView:
      return "view/" + id;
    case SnapshotKind::kCommitted:
      break;
  }
  return "snapshots/" + id;
}

Status Btrfs::make_tree(const Snapshot& snapshot) {
  const std::string tree = absolute(place(snapshot.record));
  if (!snapshot.parents.empty()) {
    return make_snapshot(absolute("snapshots/" + std::to_string(snapshot.parents.front())), tree,
                         snapshot.record.kind == SnapshotKind::kView);
  }
  const btrfs_util_error error = btrfs_util_create_subvolume(tree.c_str(), 0, nullptr, nullptr);
  if (error != BTRFS_UTIL_OK) return failed(error, errno, "make btrfs subvolume " + tree);
  // The mode must not depend on the umask of the process.
  if (::chmod(tree.c_str(), 0755) != 0) return errno_status(errno, "set the mode of " + tree);
  return {};
}

Result<Snapshotter::MountList> Btrfs::mounts_of(const Snapshot& snapshot) const {
  const std::string tree = absolute(place(snapshot.record));
  uint64_t id = 0;
  if (const btrfs_util_error error = btrfs_util_subvolume_id(tree.c_str(), &id);
      error != BTRFS_UTIL_OK) {
    return failed(error, errno, "find out the id of btrfs subvolume " + tree);
  }
  containerd::types::Mount mount;
  mount.set_type("btrfs");
  mount.set_source(device_);
  mount.add_options("subvolid=" + std::to_string(id));
  if (snapshot.record.kind != SnapshotKind::kActive) mount.add_options("ro");
  return MountList{std::move(mount)};
}

// A read-only snapshot of the active subvolume rather than the subvolume itself under another name:
// should the daemon die before the record is written, the active one is still there; and a mount of
// it stays writable, apart from the committed one.
Status Btrfs::commit_tree(const Snapshot& active, const SnapshotRecord& committed) {
  return make_snapshot(absolute(place(active.record)), absolute(place(committed)), true);
}

// Making the read-only snapshot writes out the source's data and commits btrfs's transaction, so
// that there is nothing to do before.
Status Btrfs::sync_tree(const Snapshot&) const { return {}; }

Result<SnapshotUsage> Btrfs::measure(const Snapshot& snapshot, const Cancelled& cancelled) const {
  const std::string tree = absolute(place(snapshot.record));
  const std::string parent =
      snapshot.parents.empty() ? ""
                               : absolute("snapshots/" + std::to_string(snapshot.parents.front()));
  BERTH_ASSIGN_OR_RETURN(const TreeUsage usage, parent.empty()
                                                    ? tree_usage(tree, cancelled)
                                                    : changed_usage(parent, tree, cancelled));
  return SnapshotUsage{usage.bytes, usage.inodes};
}

Status Btrfs::remove_place(const std::string& relative) {
  const std::string tree = absolute(relative);
  struct stat status {};
  if (::lstat(tree.c_str(), &status) != 0) {
    return errno == ENOENT ? Status() : errno_status(errno, "stat " + tree);
  }
  if (btrfs_util_is_subvolume(tree.c_str()) != BTRFS_UTIL_OK) return remove_tree(tree);
  // Recursive: a container may have made subvolumes inside.
  const btrfs_util_error error =
      btrfs_util_delete_subvolume(tree.c_str(), BTRFS_UTIL_DELETE_SUBVOLUME_RECURSIVE);
  if (error == BTRFS_UTIL_OK || errno == ENOENT) return {};
  return failed(error, errno, "delete btrfs subvolume " + tree);
}

}  // namespace berth::btrfs
