// What one directory tree has changed against another.
#pragma once

#include <berth/status.h>
#include <sys/stat.h>

#include <string>

#include "root_dir.h"

namespace berth::diff_walking {

enum class ChangeKind {
  /// New, or not the same as below.
  kWritten,
  kDeleted,
  /// A directory that hides all that is below it; a kWritten of the same path comes first.
  kOpaque,
  /// The same as below, but one of several names of its inode: a link may have been added.
  kUnchangedLink,
};

struct Change {
  ChangeKind kind = ChangeKind::kWritten;
  std::string path;     // from the root, without a slash in front
  struct stat info {};  // of the upper one; not for kDeleted
};

/// Receives changes in the order of a layer: directories before their content, names sorted by
/// byte.
class ChangeSink {
 public:
  virtual ~ChangeSink() = default;
  virtual Status on_change(const Change& change) = 0;
};

/// Walks both trees at once. Files are the same when mode, owner, device, size, time and
/// capabilities are; when the times have no fraction of a second, as after an unpack, the content
/// decides. As containerd has it.
Status compare_trees(const RootDir& lower, const RootDir& upper, ChangeSink* sink);

/// Walks the upper directory of an overlay alone; `lower` is the tree below it.
/// FAILED_PRECONDITION, possibly after some changes, when it holds entries that only the mounted
/// overlay can make sense of (redirects, metadata-only copies): compare the trees then.
Status compare_upper_dir(const RootDir& lower, const RootDir& upper, bool user_xattr,
                         ChangeSink* sink);

}  // namespace berth::diff_walking
