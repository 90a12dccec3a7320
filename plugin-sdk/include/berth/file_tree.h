// Walks, measures, copies-by-visitor and removes directory trees whose contents nobody trusts:
// names, depth, symbolic links and mounts in them are whatever an image or a container put there.
//
// Free functions; any thread; each call works on its own descriptors. Symbolic links are never
// followed, mount points are never crossed, depth is limited by the disk alone (neither stack nor
// descriptors grow with it).
#pragma once

#include <berth/fd.h>
#include <berth/status.h>
#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <string>

namespace berth {

/// One entry of a tree during a walk. Valid during the visit.
struct TreeEntry {
  int parent_fd;     ///< The directory that holds the entry. For the root of the walk: AT_FDCWD, or
                     ///< what was given to walk_tree_at().
  const char* name;  ///< In parent_fd. For the root of the walk: what was given.
  struct stat status;  ///< Of the entry itself (lstat).
  int fd;  ///< enter_directory() and leave_directory(): the directory, open for reading. Else -1.
  bool root;  ///< The root of the walk.
};

/// What is done with the entries. An error ends the walk and is its outcome.
class TreeVisitor {
 public:
  virtual ~TreeVisitor() = default;
  /// Before the entries of a directory.
  virtual Status enter_directory(const TreeEntry&) { return {}; }
  /// After them.
  virtual Status leave_directory(const TreeEntry&) { return {}; }
  /// False: leave_directory() gets no fd. What is removed while open goes through a list of orphans
  /// of the whole file system, which is slow.
  virtual bool leaves_with_fd() const { return true; }
  /// Everything that is not a directory.
  virtual Status visit(const TreeEntry&) { return {}; }
  /// A directory on which something is mounted; it is not entered. Default: passed over.
  virtual Status mount_point(const TreeEntry&) { return {}; }
};

/// Visits `root` (a directory) and everything below it, in no particular order. An entry that
/// vanishes meanwhile is passed over. ABORTED when a directory was moved away during the walk; else
/// the failed system call.
Status walk_tree(const std::string& root, TreeVisitor& visitor);
/// The same from the directory `name` in `parent_fd`, which may be ".". What is said of other
/// entries holds for this root as well: no link is followed to it, and a mount on it is a mount
/// point.
Status walk_tree_at(int parent_fd, const std::string& name, TreeVisitor& visitor);

struct TreeUsage {
  int64_t bytes = 0;   ///< Allocated on disk, st_blocks * 512.
  int64_t inodes = 0;  ///< Hard links count once. The root directory counts.
};

/// What a tree takes. `cancelled` is asked now and then; when it says true the outcome is
/// CANCELLED.
Result<TreeUsage> tree_usage(const std::string& root,
                             const std::function<bool()>& cancelled = nullptr);

/// Removes `path`, file or tree. Absent is success. FAILED_PRECONDITION, naming the place, when
/// something is mounted inside; what could be removed until then is gone.
Status remove_tree(const std::string& path);

/// Makes the directory `path`, an absolute path, with `mode`, and those above it with 0711. What is
/// there already is left as it is.
Status make_directories(const std::string& path, mode_t mode);

/// Makes what was written to the file system that holds `path` durable (syncfs).
Status sync_file_system(const std::string& path);

}  // namespace berth
