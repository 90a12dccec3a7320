#include <berth/file_tree.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <unordered_set>
#include <utility>
#include <vector>

namespace berth {
namespace {

// Directories kept open during a walk. Deeper than this, the outermost are closed and come back
// through "..".
constexpr size_t kOpenLevels = 64;

// A directory opened without following a link and without stepping onto a mount. EXDEV: a mount
// point.
int open_directory(int parent_fd, const char* name, bool by_path) {
  open_how how{};
  how.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;
  if (!by_path) how.resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH;
  for (;;) {
    const long fd = ::syscall(SYS_openat2, parent_fd, name, &how, sizeof how);
    // EAGAIN: a rename elsewhere made the kernel unsure about RESOLVE_BENEATH; openat2(2) asks to
    // try again.
    if (fd >= 0 || (errno != EINTR && errno != EAGAIN)) return static_cast<int>(fd);
  }
}

Result<std::vector<std::string>> read_names(int fd) {
  const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
  DIR* dir = copy < 0 ? nullptr : ::fdopendir(copy);
  if (dir == nullptr) {
    const int error = errno;
    if (copy >= 0) ::close(copy);
    return errno_status(error, "read a directory");
  }
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(dir)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
    errno = 0;
  }
  const int error = errno;
  ::closedir(dir);
  if (error != 0) return errno_status(error, "read a directory");
  return names;
}

struct Level {
  UniqueFd fd;
  std::string name;
  struct stat status {};
  std::vector<std::string> names;  // still to visit, last first
};

class Walk {
 public:
  Walk(int base, std::string root, TreeVisitor& visitor)
      : base_(base), root_(std::move(root)), visitor_(visitor) {}

  Status run() {
    struct stat status {};
    if (::fstatat(base_, root_.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      return errno_status(errno, "stat " + root_);
    }
    BERTH_RETURN_IF_ERROR(enter(base_, root_, status));
    while (!levels_.empty()) {
      Level& top = levels_.back();
      if (top.names.empty()) {
        BERTH_RETURN_IF_ERROR(leave());
        continue;
      }
      const std::string name = std::move(top.names.back());
      top.names.pop_back();
      if (::fstatat(top.fd.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT) continue;
        return errno_status(errno, "stat " + path_of(name));
      }
      if (S_ISDIR(status.st_mode)) {
        BERTH_RETURN_IF_ERROR(enter(top.fd.get(), name, status));
      } else {
        BERTH_RETURN_IF_ERROR(
            located(visitor_.visit({top.fd.get(), name.c_str(), status, -1, false}), name));
      }
    }
    return {};
  }

 private:
  Status enter(int parent_fd, const std::string& name, const struct stat& status) {
    const bool root = levels_.empty();
    Level level;
    level.fd.reset(open_directory(parent_fd, name.c_str(), parent_fd == AT_FDCWD));
    if (!level.fd) {
      if (errno == ENOENT && !root) return {};
      if (errno == EXDEV) {
        return located(visitor_.mount_point({parent_fd, name.c_str(), status, -1, root}), name);
      }
      return errno_status(errno, "open directory " + path_of(name));
    }
    level.name = name;
    // Of the opened directory: what it was when its name was looked up may be another.
    if (::fstat(level.fd.get(), &level.status) != 0) {
      return errno_status(errno, "stat " + path_of(name));
    }
    const int fd = level.fd.get();
    const struct stat entered = level.status;
    BERTH_RETURN_IF_ERROR(
        located(visitor_.enter_directory({parent_fd, name.c_str(), entered, fd, root}), name));
    auto names = read_names(fd);
    if (!names.ok()) return names.status().with_context(path_of(name));
    level.names = std::move(names).value();
    levels_.push_back(std::move(level));
    if (levels_.size() > kOpenLevels) levels_[levels_.size() - kOpenLevels - 1].fd.reset();
    return {};
  }

  Status leave() {
    Level done = std::move(levels_.back());
    levels_.pop_back();
    const bool root = levels_.empty();
    if (!root && !levels_.back().fd) BERTH_RETURN_IF_ERROR(reopen(done, levels_.back()));
    if (!visitor_.leaves_with_fd()) done.fd.reset();
    const int parent_fd = root ? base_ : levels_.back().fd.get();
    return located(
        visitor_.leave_directory({parent_fd, done.name.c_str(), done.status, done.fd.get(), root}),
        done.name);
  }

  Status reopen(const Level& below, Level& above) {
    above.fd.reset(::openat(below.fd.get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    struct stat status {};
    if (!above.fd || ::fstat(above.fd.get(), &status) != 0) {
      return errno_status(errno, "return to the directory above " + path_of(below.name));
    }
    if (status.st_ino != above.status.st_ino || status.st_dev != above.status.st_dev) {
      return aborted("walk of " + root_ + ": directory " + below.name +
                     " was moved elsewhere meanwhile; try again");
    }
    return {};
  }

  Status located(const Status& status, const std::string& name) const {
    return status.ok() ? status : status.with_context(path_of(name));
  }

  std::string path_of(const std::string& name) const {
    std::string path;
    for (const Level& level : levels_) path += level.name + "/";
    path += name;
    constexpr size_t kShown = 512;
    if (path.size() > kShown)
      path = path.substr(0, kShown / 2) + "…" + path.substr(path.size() - kShown / 2);
    return path;
  }

  int base_;  // what holds the root
  std::string root_;
  TreeVisitor& visitor_;
  std::vector<Level> levels_;
};

class Measure final : public TreeVisitor {
 public:
  explicit Measure(const std::function<bool()>& cancelled) : cancelled_(cancelled) {}

  Status enter_directory(const TreeEntry& entry) override {
    if (cancelled_ && cancelled_()) return cancelled("measuring was cancelled by the caller");
    return count(entry);
  }
  Status visit(const TreeEntry& entry) override {
    if (entry.status.st_nlink > 1 &&
        !linked_.emplace(entry.status.st_dev, entry.status.st_ino).second) {
      return {};
    }
    return count(entry);
  }
  const TreeUsage& usage() const { return usage_; }

 private:
  struct InodeHash {
    size_t operator()(const std::pair<dev_t, ino_t>& inode) const {
      return std::hash<uint64_t>()(inode.second * 31 + inode.first);
    }
  };
  Status count(const TreeEntry& entry) {
    usage_.bytes += static_cast<int64_t>(entry.status.st_blocks) * 512;
    ++usage_.inodes;
    return {};
  }
  const std::function<bool()>& cancelled_;
  TreeUsage usage_;
  std::unordered_set<std::pair<dev_t, ino_t>, InodeHash> linked_;
};

class Remove final : public TreeVisitor {
 public:
  Status leave_directory(const TreeEntry& entry) override { return unlink(entry, AT_REMOVEDIR); }
  bool leaves_with_fd() const override { return false; }
  Status visit(const TreeEntry& entry) override { return unlink(entry, 0); }
  Status mount_point(const TreeEntry&) override {
    return failed_precondition("something is mounted here; unmount it first");
  }

 private:
  static Status unlink(const TreeEntry& entry, int flags) {
    if (::unlinkat(entry.parent_fd, entry.name, flags) == 0 || errno == ENOENT) return {};
    return errno_status(errno, "remove");
  }
};

}  // namespace

Status walk_tree(const std::string& root, TreeVisitor& visitor) {
  return Walk(AT_FDCWD, root, visitor).run();
}

Status walk_tree_at(int parent_fd, const std::string& name, TreeVisitor& visitor) {
  return Walk(parent_fd, name, visitor).run();
}

Result<TreeUsage> tree_usage(const std::string& root, const std::function<bool()>& cancelled) {
  Measure measure(cancelled);
  BERTH_RETURN_IF_ERROR(walk_tree(root, measure));
  return measure.usage();
}

Status remove_tree(const std::string& path) {
  if (::unlink(path.c_str()) == 0 || errno == ENOENT) return {};
  if (errno != EISDIR && errno != EPERM) return errno_status(errno, "remove " + path);
  Remove remove;
  return walk_tree(path, remove);
}

Status make_directories(const std::string& path, mode_t mode) {
  for (size_t end = path.find('/', 1); end != std::string::npos; end = path.find('/', end + 1)) {
    const std::string above = path.substr(0, end);
    if (::mkdir(above.c_str(), 0711) != 0 && errno != EEXIST) {
      return errno_status(errno, "make directory " + above);
    }
  }
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST) {
    return errno_status(errno, "make directory " + path);
  }
  return {};
}

Status sync_file_system(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return errno_status(errno, "open " + path + " to sync its file system");
  if (::syncfs(fd.get()) != 0) return errno_status(errno, "sync the file system of " + path);
  return {};
}

}  // namespace berth
