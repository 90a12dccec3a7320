#include "changed_usage.h"

#include <berth/fd.h>
#include <fcntl.h>

#include <set>
#include <utility>

namespace berth::btrfs {
namespace {

constexpr int kDirectory = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;

// A snapshot keeps inode numbers, and whatever changes a file sets its ctime. So does another link
// to it, or one less, which alone is no change of the file.
bool same_file(const struct stat& a, const struct stat& b) {
  if (a.st_ino != b.st_ino || (a.st_mode & S_IFMT) != (b.st_mode & S_IFMT)) return false;
  const auto same_time = [](const timespec& x, const timespec& y) {
    return x.tv_sec == y.tv_sec && x.tv_nsec == y.tv_nsec;
  };
  if (same_time(a.st_ctim, b.st_ctim)) return true;
  return a.st_nlink != b.st_nlink && same_time(a.st_mtim, b.st_mtim) && a.st_size == b.st_size &&
         a.st_mode == b.st_mode && a.st_uid == b.st_uid && a.st_gid == b.st_gid;
}

// The ctime of a directory also changes with its entries, which count for themselves.
bool same_directory(const struct stat& a, const struct stat& b) {
  return a.st_ino == b.st_ino && a.st_mode == b.st_mode && a.st_uid == b.st_uid &&
         a.st_gid == b.st_gid;
}

class Changes final : public TreeVisitor {
 public:
  Changes(UniqueFd parent, const std::function<bool()>& cancelled)
      : parent_(std::move(parent)), cancelled_(cancelled) {}

  Status enter_directory(const TreeEntry& entry) override {
    if (cancelled_ && cancelled_()) return cancelled("measuring was cancelled by the caller");
    struct stat before {};
    if (entry.root) {
      if (::fstat(parent_.get(), &before) != 0) return errno_status(errno, "stat the parent of");
      if (!same_directory(before, entry.status)) count(entry);
      return {};
    }
    if (new_depth_ == 0) {
      UniqueFd below(::openat(parent_.get(), entry.name, kDirectory));
      if (below && ::fstat(below.get(), &before) == 0) {
        if (!same_directory(before, entry.status)) count(entry);
        parent_ = std::move(below);
        return {};
      }
      if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP) {
        return errno_status(errno, "open the parent's directory");
      }
    }
    ++new_depth_;
    count(entry);
    return {};
  }

  Status leave_directory(const TreeEntry& entry) override {
    if (entry.root) return {};
    if (new_depth_ > 0) {
      --new_depth_;
      return {};
    }
    UniqueFd above(::openat(parent_.get(), "..", kDirectory));
    if (!above) return errno_status(errno, "return to the directory above in the parent");
    parent_ = std::move(above);
    return {};
  }

  Status visit(const TreeEntry& entry) override {
    struct stat before {};
    if (new_depth_ == 0 &&
        ::fstatat(parent_.get(), entry.name, &before, AT_SYMLINK_NOFOLLOW) == 0 &&
        same_file(before, entry.status)) {
      return {};
    }
    if (entry.status.st_nlink > 1 &&
        !linked_.emplace(entry.status.st_dev, entry.status.st_ino).second) {
      return {};
    }
    count(entry);
    return {};
  }

  const TreeUsage& usage() const { return usage_; }

 private:
  void count(const TreeEntry& entry) {
    usage_.bytes += static_cast<int64_t>(entry.status.st_blocks) * 512;
    ++usage_.inodes;
  }

  UniqueFd parent_;    // the directory of the parent that corresponds to the one being walked
  int new_depth_ = 0;  // levels below the last directory that the parent has, too
  const std::function<bool()>& cancelled_;
  std::set<std::pair<dev_t, ino_t>> linked_;
  TreeUsage usage_;
};

}  // namespace

Result<TreeUsage> changed_usage(const std::string& parent, const std::string& tree,
                                const std::function<bool()>& cancelled) {
  UniqueFd fd(::open(parent.c_str(), kDirectory));
  if (!fd) return errno_status(errno, "open directory " + parent);
  Changes changes(std::move(fd), cancelled);
  BERTH_RETURN_IF_ERROR(walk_tree(tree, changes));
  return changes.usage();
}

}  // namespace berth::btrfs
