#include "extractor.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "xattrs.h"

namespace berth::diff_walking {
namespace {

constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kWhiteoutMeta = ".wh..wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";

timespec spec_of(const TarTime& time) {
  timespec spec{};
  spec.tv_sec = time.seconds;
  spec.tv_nsec = time.nanoseconds;
  return spec;
}

/// Access and modification time; a file is not accessed before it is modified, which containerd
/// sees to as well.
std::array<timespec, 2> times_of(const TarTime& atime, const TarTime& mtime) {
  return {spec_of(std::max(atime, mtime)), spec_of(mtime)};
}

Status write_all(int fd, const TarReader::Chunk& chunk, bool at_offset) {
  std::span<const std::byte> rest = chunk.bytes;
  uint64_t offset = chunk.offset;
  while (!rest.empty()) {
    const ssize_t done = at_offset
                             ? ::pwrite(fd, rest.data(), rest.size(), static_cast<off_t>(offset))
                             : ::write(fd, rest.data(), rest.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return errno_status(errno, "write");
    rest = rest.subspan(static_cast<size_t>(done));
    offset += static_cast<uint64_t>(done);
  }
  return {};
}

}  // namespace

bool in_user_namespace() {
  static const bool inside = [] {
    std::FILE* map = std::fopen("/proc/self/uid_map", "re");
    if (map == nullptr) return false;
    unsigned long long first = 0;
    unsigned long long outside = 0;
    unsigned long long count = 0;
    const int got = std::fscanf(map, "%llu %llu %llu", &first, &outside, &count);
    std::fclose(map);
    return got == 3 && !(first == 0 && outside == 0 && count == 4294967295ULL);
  }();
  return inside;
}

Status Extractor::extract(TarReader* archive) {
  TarEntry entry;
  while (true) {
    BERTH_ASSIGN_OR_RETURN(const bool more, archive->next(&entry));
    if (!more) break;
    Status applied = apply_entry(entry, archive);
    if (!applied.ok()) {
      return applied.with_context("unpack the entry \"" + entry.name + "\" into " + root_->path());
    }
  }
  return set_directory_times();
}

Status Extractor::apply_entry(const TarEntry& entry, TarReader* archive) {
  BERTH_ASSIGN_OR_RETURN(const EntryPath path, parse_entry_path(entry.name));
  if (path.base.empty()) return {};  // the root belongs to the snapshot, as containerd has it
  if (path.base.size() > 255) return invalid_argument("a name is longer than 255 bytes");
  BERTH_RETURN_IF_ERROR(enter_parent(path));
  if (path.base.starts_with(kWhiteout)) {
    const Status status = apply_whiteout(path.base);
    parent_.reset();
    return status;
  }
  switch (entry.type) {
    case TarType::kFile:
      BERTH_RETURN_IF_ERROR(make_file(path.base, entry, archive));
      break;
    case TarType::kDirectory:
      BERTH_RETURN_IF_ERROR(make_directory(path, entry));
      break;
    case TarType::kSymlink:
      BERTH_RETURN_IF_ERROR(make_symlink(path.base, entry));
      break;
    case TarType::kHardLink:
      BERTH_RETURN_IF_ERROR(make_hard_link(path.base, entry));
      break;
    case TarType::kCharDevice:
    case TarType::kBlockDevice:
    case TarType::kFifo:
      BERTH_RETURN_IF_ERROR(make_node(path.base, entry));
      break;
  }
  parent_names_->insert(path.base);
  return {};
}

Status Extractor::enter_parent(const EntryPath& path) {
  if (parent_ && path.parent == parent_path_) return {};
  parent_.reset();
  const auto created = [this](int parent, const std::string& name, const std::string& made) {
    return mark_created(parent, name, made);
  };
  BERTH_ASSIGN_OR_RETURN(UniqueFd dir, root_->make_dirs(path.parent, created));
  struct stat info;
  if (::fstat(dir.get(), &info) != 0) return errno_status(errno, "stat " + path.parent);
  parent_names_ = &unpacked_[{info.st_dev, info.st_ino}];
  parent_path_ = path.parent;
  parent_ = std::move(dir);
  return {};
}

Status Extractor::mark_created(int parent, const std::string& name, const std::string& path) {
  struct stat info;
  if (::fstat(parent, &info) != 0) return errno_status(errno, "stat the parent of " + path);
  unpacked_[{info.st_dev, info.st_ino}].insert(name);
  // mkdir applies the umask of the daemon; the mode is part of what is promised.
  if (::fchmodat(parent, name.c_str(), 0755, AT_SYMLINK_NOFOLLOW) != 0) {
    return errno_status(errno, "set the mode of " + path);
  }
  if (options_.whiteouts == Whiteouts::kOverlay) return copy_from_lower(parent, name, path);
  return {};
}

Status Extractor::copy_from_lower(int parent, const std::string& name, const std::string& path) {
  for (const std::string& lower : options_.lower_dirs) {
    BERTH_ASSIGN_OR_RETURN(const RootDir root, RootDir::open(lower));
    UniqueFd source(root.resolve(path, O_PATH | O_NOFOLLOW));
    if (!source) {
      if (-source.release() == ENOENT) continue;
      return {};  // hidden by something that is no directory
    }
    struct stat info;
    if (::fstat(source.get(), &info) != 0) return errno_status(errno, "stat " + lower + "/" + path);
    if (!S_ISDIR(info.st_mode)) return {};
    source.reset(root.resolve(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    UniqueFd made(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!source || !made)
      return errno_status(errno, "copy the attributes of " + lower + "/" + path);
    BERTH_ASSIGN_OR_RETURN(const std::vector<std::string> keys, list_xattrs(source.get(), path));
    for (const std::string& key : keys) {
      // An overlay's own marks belong to the layer that they are in.
      if (key.starts_with("trusted.") || key.starts_with("user.overlay.")) continue;
      BERTH_ASSIGN_OR_RETURN(const auto value, get_xattr(source.get(), key, path));
      if (value && ::fsetxattr(made.get(), key.c_str(), value->data(), value->size(), 0) != 0 &&
          errno != EOPNOTSUPP) {
        return errno_status(errno, "set the attribute " + key + " of " + path);
      }
    }
    const std::array<timespec, 2> times = {info.st_atim, info.st_mtim};
    if (::fchown(made.get(), info.st_uid, info.st_gid) != 0 ||
        ::fchmod(made.get(), info.st_mode & 07777) != 0 ||
        ::futimens(made.get(), times.data()) != 0) {
      return errno_status(errno, "copy the attributes of " + lower + "/" + path);
    }
    directory_times_.push_back({path,
                                {info.st_atim.tv_sec, static_cast<int32_t>(info.st_atim.tv_nsec)},
                                {info.st_mtim.tv_sec, static_cast<int32_t>(info.st_mtim.tv_nsec)}});
    return {};
  }
  return {};
}

Status Extractor::apply_whiteout(const std::string& base) {
  if (base == kOpaque) {
    BERTH_ASSIGN_OR_RETURN([[maybe_unused]] const bool kept, prune(parent_.get()));
    return options_.whiteouts == Whiteouts::kOverlay ? make_opaque(parent_.get(), ".") : Status();
  }
  if (base.starts_with(kWhiteoutMeta)) return {};  // bookkeeping of aufs, without meaning here
  const std::string hidden = base.substr(kWhiteout.size());
  if (hidden.empty() || hidden == "." || hidden == "..") {
    return invalid_argument("a whiteout for \"" + hidden + "\" would reach outside its directory");
  }
  // A whiteout speaks of lower layers only: what this layer has brought under the name stays.
  bool kept = parent_names_->contains(hidden);
  UniqueFd dir(
      ::openat(parent_.get(), hidden.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (dir) {
    BERTH_ASSIGN_OR_RETURN(const bool below, prune(dir.get()));
    kept = kept || below;
    if (kept && options_.whiteouts == Whiteouts::kOverlay) {
      return make_opaque(parent_.get(), hidden);
    }
  }
  if (kept) return {};
  BERTH_RETURN_IF_ERROR(remove_existing(hidden));
  if (options_.whiteouts == Whiteouts::kRemove) return {};
  if (::mknodat(parent_.get(), hidden.c_str(), S_IFCHR, makedev(0, 0)) != 0) {
    return errno_status(errno, "make the whiteout of " + hidden);
  }
  return {};
}

Status Extractor::make_opaque(int parent, const std::string& name) {
  UniqueFd dir(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!dir) return errno_status(errno, "open the directory " + name);
  const char* key = options_.user_xattr ? "user.overlay.opaque" : "trusted.overlay.opaque";
  if (::fsetxattr(dir.get(), key, "y", 1, 0) != 0) {
    return errno_status(errno, std::string("set the attribute ") + key + " of " + name);
  }
  return {};
}

bool Extractor::brings(const Names* brought, const std::string& name) {
  return brought != nullptr && brought->contains(name);
}

/// Removes what this layer has not brought.
class Extractor::Prune final : public TreeVisitor {
 public:
  explicit Prune(Extractor* extractor) : extractor_(extractor) {}
  bool stays() const { return stays_; }

  Status enter_directory(const TreeEntry& entry) override {
    const auto found = extractor_->unpacked_.find({entry.status.st_dev, entry.status.st_ino});
    levels_.push_back({found == extractor_->unpacked_.end() ? nullptr : &found->second});
    return {};
  }
  Status visit(const TreeEntry& entry) override {
    if (!brings(levels_.back().brought, entry.name)) return unlink_entry(entry);
    levels_.back().stays = true;
    return {};
  }
  Status leave_directory(const TreeEntry& entry) override {
    const bool stays = levels_.back().stays;
    levels_.pop_back();
    if (entry.root) {
      stays_ = stays;
    } else if (stays || brings(levels_.back().brought, entry.name)) {
      levels_.back().stays = true;
    } else {
      extractor_->forget(entry.status);
      return unlink_entry(entry);
    }
    return {};
  }
  bool leaves_with_fd() const override { return false; }
  Status mount_point(const TreeEntry&) override { return mounted_here(); }

 private:
  struct Level {
    const Names* brought = nullptr;
    bool stays = false;
  };
  Extractor* extractor_;
  std::vector<Level> levels_;
  bool stays_ = false;
};

/// True when something stays.
Result<bool> Extractor::prune(int dir) {
  Prune prune(this);
  BERTH_RETURN_IF_ERROR(walk_tree_at(dir, ".", prune));
  return prune.stays();
}

Status Extractor::remove_existing(const std::string& base) {
  return remove_tree(parent_.get(), base, [this](const struct stat& info) { forget(info); });
}

/// Of a directory that goes: a later one may get its inode number.
void Extractor::forget(const struct stat& info) {
  if (const auto found = unpacked_.find({info.st_dev, info.st_ino}); found != unpacked_.end()) {
    found->second.clear();
  }
}

Status Extractor::set_xattrs(int fd, bool path_only, const TarEntry& entry) {
  for (const auto& [key, value] : entry.xattrs) {
    // trusted.* steers overlayfs and other parts of the system; a layer has no say in it.
    if (key.starts_with("trusted.")) continue;
    if (options_.user_xattr && key.starts_with("user.overlay.")) continue;
    const int outcome =
        path_only ? ::setxattr(path_of_fd(fd).c_str(), key.c_str(), value.data(), value.size(), 0)
                  : ::fsetxattr(fd, key.c_str(), value.data(), value.size(), 0);
    if (outcome == 0 || errno == EOPNOTSUPP) continue;
    // user.* exists on files and directories only (xattr(7)).
    if (errno == EPERM && path_only && key.starts_with("user.")) continue;
    return errno_status(errno, "set the attribute " + key);
  }
  return {};
}

Status Extractor::make_file(const std::string& base, const TarEntry& entry, TarReader* archive) {
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  UniqueFd file(::openat(parent_.get(), base.c_str(), kFlags, 0600));
  bool replaced = false;
  if (!file && errno == EEXIST) {
    BERTH_RETURN_IF_ERROR(remove_existing(base));
    replaced = true;
    file.reset(::openat(parent_.get(), base.c_str(), kFlags, 0600));
  }
  if (!file) return errno_status(errno, "make the file");
  while (true) {
    BERTH_ASSIGN_OR_RETURN(const TarReader::Chunk chunk, archive->read());
    if (chunk.bytes.empty()) break;
    BERTH_RETURN_IF_ERROR(write_all(file.get(), chunk, entry.sparse));
  }
  if (entry.sparse && ::ftruncate(file.get(), static_cast<off_t>(entry.size)) != 0) {
    return errno_status(errno, "set the size");
  }
  // In this order: a change of the owner drops set-uid bits and capabilities, and so does a write.
  if (::fchown(file.get(), entry.uid, entry.gid) != 0) return errno_status(errno, "set the owner");
  BERTH_RETURN_IF_ERROR(set_xattrs(file.get(), false, entry));
  if (::fchmod(file.get(), entry.mode) != 0) return errno_status(errno, "set the mode");
  const auto times = times_of(entry.atime, entry.mtime);
  if (::futimens(file.get(), times.data()) != 0) return errno_status(errno, "set the times");
  if (replaced) parent_.reset();
  return {};
}

Status Extractor::make_directory(const EntryPath& path, const TarEntry& entry) {
  const std::string& base = path.base;
  bool replaced = false;
  if (::mkdirat(parent_.get(), base.c_str(), 0700) != 0) {
    if (errno != EEXIST) return errno_status(errno, "make the directory");
    struct stat info;
    if (::fstatat(parent_.get(), base.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
      return errno_status(errno, "stat what is there");
    }
    if (!S_ISDIR(info.st_mode)) {
      BERTH_RETURN_IF_ERROR(remove_existing(base));
      replaced = true;
      if (::mkdirat(parent_.get(), base.c_str(), 0700) != 0) {
        return errno_status(errno, "make the directory");
      }
    }
  }
  UniqueFd dir(
      ::openat(parent_.get(), base.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!dir) return errno_status(errno, "open the directory");
  if (::fchown(dir.get(), entry.uid, entry.gid) != 0) return errno_status(errno, "set the owner");
  BERTH_RETURN_IF_ERROR(set_xattrs(dir.get(), false, entry));
  if (::fchmod(dir.get(), entry.mode) != 0) return errno_status(errno, "set the mode");
  // It stands where this layer had a whiteout or a file: nothing of the lower layers may shine
  // through.
  if (replaced && options_.whiteouts == Whiteouts::kOverlay) {
    BERTH_RETURN_IF_ERROR(make_opaque(parent_.get(), base));
  }
  directory_times_.push_back({path.whole(), entry.atime, entry.mtime});
  if (replaced) parent_.reset();
  return {};
}

Status Extractor::make_symlink(const std::string& base, const TarEntry& entry) {
  if (entry.link_target.size() > kMaxTarName)
    return invalid_argument("the link target is too long");
  bool replaced = false;
  int outcome = ::symlinkat(entry.link_target.c_str(), parent_.get(), base.c_str());
  if (outcome != 0 && errno == EEXIST) {
    BERTH_RETURN_IF_ERROR(remove_existing(base));
    replaced = true;
    outcome = ::symlinkat(entry.link_target.c_str(), parent_.get(), base.c_str());
  }
  if (outcome != 0) return errno_status(errno, "make the symbolic link");
  if (::fchownat(parent_.get(), base.c_str(), entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW) != 0) {
    return errno_status(errno, "set the owner");
  }
  if (!entry.xattrs.empty()) {
    UniqueFd link(::openat(parent_.get(), base.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!link) return errno_status(errno, "open the symbolic link");
    BERTH_RETURN_IF_ERROR(set_xattrs(link.get(), true, entry));
  }
  const auto times = times_of(entry.atime, entry.mtime);
  if (::utimensat(parent_.get(), base.c_str(), times.data(), AT_SYMLINK_NOFOLLOW) != 0) {
    return errno_status(errno, "set the times");
  }
  if (replaced) parent_.reset();
  return {};
}

Status Extractor::make_node(const std::string& base, const TarEntry& entry) {
  const bool device = entry.type != TarType::kFifo;
  if (device && in_user_namespace()) return {};  // no devices there; containerd leaves them out too
  const mode_t type = entry.type == TarType::kFifo         ? S_IFIFO
                      : entry.type == TarType::kCharDevice ? S_IFCHR
                                                           : S_IFBLK;
  const dev_t number = device ? makedev(entry.dev_major, entry.dev_minor) : 0;
  BERTH_RETURN_IF_ERROR(remove_existing(base));
  if (::mknodat(parent_.get(), base.c_str(), type | 0600, number) != 0) {
    return errno_status(errno, device ? "make the device" : "make the fifo");
  }
  UniqueFd node(::openat(parent_.get(), base.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat info;
  if (!node || ::fstat(node.get(), &info) != 0) return errno_status(errno, "open the node");
  if ((info.st_mode & S_IFMT) != type) return aborted("somebody has replaced the node");
  if (::fchownat(node.get(), "", entry.uid, entry.gid, AT_EMPTY_PATH) != 0) {
    return errno_status(errno, "set the owner");
  }
  BERTH_RETURN_IF_ERROR(set_xattrs(node.get(), true, entry));
  if (::chmod(path_of_fd(node.get()).c_str(), entry.mode) != 0) {
    return errno_status(errno, "set the mode");
  }
  const auto times = times_of(entry.atime, entry.mtime);
  if (::utimensat(parent_.get(), base.c_str(), times.data(), AT_SYMLINK_NOFOLLOW) != 0) {
    return errno_status(errno, "set the times");
  }
  parent_.reset();
  return {};
}

Status Extractor::make_hard_link(const std::string& base, const TarEntry& entry) {
  BERTH_ASSIGN_OR_RETURN(const EntryPath target, parse_entry_path(entry.link_target));
  if (target.base.empty()) return invalid_argument("the hard link has the root as its target");
  UniqueFd from(root_->resolve(target.parent, O_PATH | O_DIRECTORY));
  if (!from) {
    return errno_status(-from.release(),
                        "find the target \"" + entry.link_target + "\" of the hard link");
  }
  bool replaced = false;
  int outcome = ::linkat(from.get(), target.base.c_str(), parent_.get(), base.c_str(), 0);
  if (outcome != 0 && errno == EEXIST) {
    struct stat ours;
    struct stat theirs;
    // A link to itself: removing it first would lose the file.
    if (::fstatat(parent_.get(), base.c_str(), &ours, AT_SYMLINK_NOFOLLOW) == 0 &&
        ::fstatat(from.get(), target.base.c_str(), &theirs, AT_SYMLINK_NOFOLLOW) == 0 &&
        ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino) {
      return {};
    }
    BERTH_RETURN_IF_ERROR(remove_existing(base));
    replaced = true;
    outcome = ::linkat(from.get(), target.base.c_str(), parent_.get(), base.c_str(), 0);
  }
  if (outcome != 0) {
    return errno_status(errno, "make the hard link to \"" + entry.link_target + "\"");
  }
  BERTH_RETURN_IF_ERROR(set_link_attributes(base, entry));
  if (replaced) parent_.reset();
  return {};
}

// The last entry of a file has the say about its owner, mode and times, whichever name it goes by,
// as in containerd.
Status Extractor::set_link_attributes(const std::string& base, const TarEntry& entry) {
  UniqueFd link(::openat(parent_.get(), base.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat info;
  if (!link || ::fstat(link.get(), &info) != 0) return errno_status(errno, "open the hard link");
  if (::fchownat(link.get(), "", entry.uid, entry.gid, AT_EMPTY_PATH) != 0) {
    return errno_status(errno, "set the owner");
  }
  BERTH_RETURN_IF_ERROR(set_xattrs(link.get(), true, entry));
  if (!S_ISLNK(info.st_mode) && ::chmod(path_of_fd(link.get()).c_str(), entry.mode) != 0) {
    return errno_status(errno, "set the mode");
  }
  const auto times = times_of(entry.atime, entry.mtime);
  if (::utimensat(link.get(), "", times.data(), AT_EMPTY_PATH) != 0) {
    return errno_status(errno, "set the times");
  }
  return {};
}

Status Extractor::set_directory_times() {
  parent_.reset();
  for (const DirTimes& dir : directory_times_) {
    // It may have been replaced or removed by a later entry, which is fine.
    UniqueFd fd(root_->resolve(dir.path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    if (!fd) {
      const int error = -fd.release();
      if (error == ENOENT || error == ENOTDIR || error == ELOOP) continue;
      return errno_status(error, "open the directory " + dir.path + " in " + root_->path());
    }
    const auto times = times_of(dir.atime, dir.mtime);
    if (::futimens(fd.get(), times.data()) != 0) {
      return errno_status(errno, "set the times of " + dir.path + " in " + root_->path());
    }
  }
  return {};
}

}  // namespace berth::diff_walking
