#include "changes.h"

#include <fcntl.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <span>

#include "xattrs.h"

namespace berth::diff_walking {
namespace {

constexpr size_t kPiece = 64 << 10;

/// A name in a directory, both as descriptors and as words.
struct At {
  int dir = -1;
  const std::string& name;
};

std::string joined(const std::string& path, const std::string& name) {
  return path.empty() ? name : path + "/" + name;
}

Result<std::optional<struct stat>> look_at(const At& at) {
  struct stat info;
  if (at.dir < 0) return std::optional<struct stat>();
  if (::fstatat(at.dir, at.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
    return std::optional(info);
  }
  if (errno == ENOENT) return std::optional<struct stat>();
  return errno_status(errno, "stat " + at.name);
}

Result<std::optional<std::string>> attribute(const At& at, const char* key) {
  UniqueFd fd(::openat(at.dir, at.name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return errno_status(errno, "open " + at.name);
  return get_xattr(fd.get(), key, at.name);
}

Result<std::string> link_target(const At& at) {
  std::array<char, 4097> text{};
  const ssize_t size = ::readlinkat(at.dir, at.name.c_str(), text.data(), text.size());
  if (size < 0) return errno_status(errno, "read the link " + at.name);
  return std::string(text.data(), static_cast<size_t>(size));
}

Result<size_t> read_full(int fd, std::span<std::byte> out, const std::string& name) {
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t got = ::read(fd, out.data() + done, out.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_status(errno, "read " + name);
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

Result<bool> same_content(const At& lower, const At& upper) {
  constexpr int kFlags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
  UniqueFd a(::openat(lower.dir, lower.name.c_str(), kFlags));
  UniqueFd b(::openat(upper.dir, upper.name.c_str(), kFlags));
  if (!a || !b) return errno_status(errno, "open " + upper.name + " to compare its content");
  const auto memory = std::make_unique_for_overwrite<std::byte[]>(2 * kPiece);
  const std::span first(memory.get(), kPiece);
  const std::span second(memory.get() + kPiece, kPiece);
  while (true) {
    BERTH_ASSIGN_OR_RETURN(const size_t one, read_full(a.get(), first, lower.name));
    BERTH_ASSIGN_OR_RETURN(const size_t two, read_full(b.get(), second, upper.name));
    if (one != two || std::memcmp(first.data(), second.data(), one) != 0) return false;
    if (one == 0) return true;
  }
}

Result<bool> same_file(const At& lower, const struct stat& a, const At& upper,
                       const struct stat& b) {
  if (a.st_dev == b.st_dev && a.st_ino == b.st_ino) return true;
  if (a.st_mode != b.st_mode || a.st_uid != b.st_uid || a.st_gid != b.st_gid ||
      a.st_rdev != b.st_rdev) {
    return false;
  }
  BERTH_ASSIGN_OR_RETURN(const auto one, attribute(lower, "security.capability"));
  BERTH_ASSIGN_OR_RETURN(const auto two, attribute(upper, "security.capability"));
  if (one != two) return false;
  if (S_ISDIR(a.st_mode)) return true;
  if (a.st_size != b.st_size || a.st_mtim.tv_sec != b.st_mtim.tv_sec) return false;
  if (a.st_mtim.tv_nsec != b.st_mtim.tv_nsec) return false;
  if (a.st_mtim.tv_nsec != 0) return true;
  // A time without fraction may have been cut off by an archive: equal times mean nothing.
  if (S_ISLNK(a.st_mode)) {
    BERTH_ASSIGN_OR_RETURN(const std::string target, link_target(lower));
    BERTH_ASSIGN_OR_RETURN(const std::string other, link_target(upper));
    return target == other;
  }
  if (!S_ISREG(a.st_mode) || a.st_size == 0) return true;
  return same_content(lower, upper);
}

class Walk {
 public:
  Walk(bool upper_only, bool user_xattr, ChangeSink* sink)
      : upper_only_(upper_only),
        opaque_(user_xattr ? "user.overlay.opaque" : "trusted.overlay.opaque"),
        redirect_(user_xattr ? "user.overlay.redirect" : "trusted.overlay.redirect"),
        metacopy_(user_xattr ? "user.overlay.metacopy" : "trusted.overlay.metacopy"),
        whiteout_(user_xattr ? "user.overlay.whiteout" : "trusted.overlay.whiteout"),
        sink_(sink) {}

  /// All that is in the directories, in order of names.
  Status run(int lower, int upper) {
    levels_.emplace_back();
    BERTH_RETURN_IF_ERROR(list(lower, upper, &levels_.back()));
    while (!levels_.empty()) {
      Level& level = levels_.back();
      if (level.next == level.names.size()) {
        BERTH_RETURN_IF_ERROR(leave());
        continue;
      }
      const bool top = levels_.size() == 1;
      const std::string& name = level.names[level.next++];
      const size_t above = path_.size();
      path_ = joined(path_, name);
      Level below;
      const Status status = entry({top ? lower : level.lower.fd.get(), name},
                                  {top ? upper : level.upper.fd.get(), name}, path_, &below);
      if (!status.ok()) return status.with_context("compare " + shortened(path_));
      if (below.upper.fd) {
        below.path_above = above;
        enter(std::move(below));
      } else {
        path_.resize(above);
      }
    }
    return {};
  }

 private:
  /// A directory that may be closed while the walk is far below it.
  struct Dir {
    UniqueFd fd;
    struct stat status {};
  };
  struct Level {
    Dir lower;  // none where nothing can be below
    Dir upper;
    bool has_lower = false;
    size_t path_above = 0;  // how long the path of the directory above is
    std::vector<std::string> names;
    size_t next = 0;  // of names
  };

  // Directories kept open of each tree. Deeper than this, the outermost are closed and come back
  // through "..".
  static constexpr size_t kOpenLevels = 32;

  static Result<Dir> open_child(const At& at) {
    Dir dir;
    dir.fd.reset(
        ::openat(at.dir, at.name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!dir.fd || ::fstat(dir.fd.get(), &dir.status) != 0) {
      return errno_status(errno, "open the directory " + at.name);
    }
    return dir;
  }

  void enter(Level below) {
    levels_.push_back(std::move(below));
    if (levels_.size() > kOpenLevels) levels_[levels_.size() - kOpenLevels - 1].upper.fd.reset();
    // Below a level without a lower directory there is none, so that these are the first levels.
    if (!levels_.back().has_lower) return;
    ++lower_levels_;
    if (lower_levels_ > kOpenLevels) levels_[lower_levels_ - kOpenLevels].lower.fd.reset();
  }

  Status leave() {
    Level done = std::move(levels_.back());
    levels_.pop_back();
    if (done.has_lower) --lower_levels_;
    if (levels_.size() > 1) {  // the first belongs to the caller
      Level& above = levels_.back();
      BERTH_RETURN_IF_ERROR(come_back(done.upper, &above.upper));
      if (done.has_lower) BERTH_RETURN_IF_ERROR(come_back(done.lower, &above.lower));
    }
    path_.resize(done.path_above);
    return {};
  }

  Status come_back(const Dir& below, Dir* above) const {
    if (above->fd) return {};
    above->fd.reset(::openat(below.fd.get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    struct stat status {};
    if (!above->fd || ::fstat(above->fd.get(), &status) != 0) {
      return errno_status(errno, "return to the directory above " + shortened(path_));
    }
    if (status.st_ino != above->status.st_ino || status.st_dev != above->status.st_dev) {
      return aborted("compare " + shortened(path_) +
                     ": it was moved elsewhere meanwhile; try again");
    }
    return {};
  }

  Status list(int lower, int upper, Level* out) const {
    BERTH_ASSIGN_OR_RETURN(out->names, sorted_names(upper));
    if (upper_only_ || lower < 0) return {};
    BERTH_ASSIGN_OR_RETURN(const std::vector<std::string> below, sorted_names(lower));
    std::vector<std::string> all;
    std::set_union(out->names.begin(), out->names.end(), below.begin(), below.end(),
                   std::back_inserter(all));
    out->names = std::move(all);
    return {};
  }

  Status deleted(const std::string& path) {
    Change change;
    change.kind = ChangeKind::kDeleted;
    change.path = path;
    return sink_->on_change(change);
  }

  /// Whether an entry of an upper directory stands for a removal.
  Result<bool> is_whiteout(const At& upper, const struct stat& info) {
    if (!upper_only_) return false;
    if (S_ISCHR(info.st_mode) && info.st_rdev == makedev(0, 0)) return true;
    if (!S_ISREG(info.st_mode) || info.st_size != 0) return false;
    // Linux 6.8 and later know whiteouts as empty files with an attribute.
    BERTH_ASSIGN_OR_RETURN(const auto mark, attribute(upper, whiteout_));
    return mark.has_value();
  }

  Status refuse_what_needs_the_mount(const At& upper, const struct stat& info) {
    const bool dir = S_ISDIR(info.st_mode);
    if (!upper_only_ || (!dir && !S_ISREG(info.st_mode))) return {};
    BERTH_ASSIGN_OR_RETURN(const auto mark, attribute(upper, dir ? redirect_ : metacopy_));
    if (mark) return failed_precondition("the upper directory refers to lower layers");
    return {};
  }

  /// Fills in `inside` for a directory, whose content comes next.
  Status entry(const At& lower, const At& upper, const std::string& path, Level* inside) {
    BERTH_ASSIGN_OR_RETURN(const auto below, look_at(lower));
    BERTH_ASSIGN_OR_RETURN(const auto above, look_at(upper));
    if (!above) return below ? deleted(path) : Status();
    BERTH_ASSIGN_OR_RETURN(const bool whiteout, is_whiteout(upper, *above));
    if (whiteout) return below ? deleted(path) : Status();
    BERTH_RETURN_IF_ERROR(refuse_what_needs_the_mount(upper, *above));

    bool same = false;
    if (below) {
      BERTH_ASSIGN_OR_RETURN(same, same_file(lower, *below, upper, *above));
    }
    Change change;
    change.path = path;
    change.info = *above;
    if (!same) {
      BERTH_RETURN_IF_ERROR(sink_->on_change(change));
    } else if (!S_ISDIR(above->st_mode) && above->st_nlink > 1) {
      change.kind = ChangeKind::kUnchangedLink;
      BERTH_RETURN_IF_ERROR(sink_->on_change(change));
    }
    if (!S_ISDIR(above->st_mode)) return {};

    Dir lower_dir;
    if (below && S_ISDIR(below->st_mode)) {
      BERTH_ASSIGN_OR_RETURN(lower_dir, open_child(lower));
    }
    if (upper_only_ && lower_dir.fd) {
      BERTH_ASSIGN_OR_RETURN(const auto mark, attribute(upper, opaque_));
      if (mark == "y") {
        if (same) BERTH_RETURN_IF_ERROR(sink_->on_change(change));
        change.kind = ChangeKind::kOpaque;
        BERTH_RETURN_IF_ERROR(sink_->on_change(change));
        lower_dir.fd.reset();  // all that is in here is new
      }
    }
    BERTH_ASSIGN_OR_RETURN(Dir upper_dir, open_child(upper));
    BERTH_RETURN_IF_ERROR(list(lower_dir.fd.get(), upper_dir.fd.get(), inside));
    inside->has_lower = static_cast<bool>(lower_dir.fd);
    inside->lower = std::move(lower_dir);
    inside->upper = std::move(upper_dir);
    return {};
  }

  bool upper_only_;
  const char* opaque_;
  const char* redirect_;
  const char* metacopy_;
  const char* whiteout_;
  ChangeSink* sink_;
  std::vector<Level> levels_;  // from the top down; trees may be deeper than stacks
  size_t lower_levels_ = 0;    // but for the top
  std::string path_;           // of the last level, and of the entry in work
};

}  // namespace

Status compare_trees(const RootDir& lower, const RootDir& upper, ChangeSink* sink) {
  return Walk(false, false, sink).run(lower.fd(), upper.fd());
}

Status compare_upper_dir(const RootDir& lower, const RootDir& upper, bool user_xattr,
                         ChangeSink* sink) {
  return Walk(true, user_xattr, sink).run(lower.fd(), upper.fd());
}

}  // namespace berth::diff_walking
