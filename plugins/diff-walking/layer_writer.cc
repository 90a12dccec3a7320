#include "layer_writer.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>

#include "xattrs.h"

namespace berth::diff_walking {
namespace {

constexpr size_t kPiece = 256 << 10;

std::string parent_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash);
}

Status check_length(const std::string& path) {
  if (path.size() <= kMaxTarName) return {};
  return invalid_argument("the path of an entry has " + std::to_string(path.size()) +
                          " bytes, and at most " + std::to_string(kMaxTarName) +
                          " in a layer: " + shortened(path));
}

/// Attributes that a layer carries: capabilities, and what users have set.
bool carried(std::string_view key) {
  return key == "security.capability" ||
         (key.starts_with("user.") && !key.starts_with("user.overlay."));
}

Status add_xattrs(int fd, const std::string& path, TarEntry* entry) {
  BERTH_ASSIGN_OR_RETURN(const std::vector<std::string> keys, list_xattrs(fd, path));
  for (const std::string& key : keys) {
    if (!carried(key)) continue;
    BERTH_ASSIGN_OR_RETURN(const std::optional<std::string> value, get_xattr(fd, key, path));
    if (value) entry->xattrs.emplace_back(key, *value);
  }
  return {};
}

}  // namespace

Status LayerWriter::on_change(const Change& change) {
  switch (change.kind) {
    case ChangeKind::kDeleted: {
      const std::string parent = parent_of(change.path);
      const std::string base = parent.empty() ? change.path : change.path.substr(parent.size() + 1);
      return write_whiteout((parent.empty() ? "" : parent + "/") + ".wh." + base);
    }
    case ChangeKind::kOpaque:
      return write_whiteout(change.path + "/.wh..wh..opq");
    case ChangeKind::kUnchangedLink: {
      const Inode inode{change.info.st_dev, change.info.st_ino};
      if (!first_name_.contains(inode)) {
        unchanged_names_[inode].push_back(change.path);
        return {};
      }
      return write_entry(change);
    }
    case ChangeKind::kWritten:
      if (S_ISDIR(change.info.st_mode) && written_dirs_.contains(change.path)) return {};
      return write_entry(change);
  }
  return {};
}

// From the top down, and not by calling itself: they may be more than a stack has room for.
Status LayerWriter::write_parents(const std::string& path) {
  if (const std::string parent = parent_of(path);
      parent.empty() || written_dirs_.contains(parent)) {
    return {};
  }
  for (size_t end = path.find('/'); end != std::string::npos; end = path.find('/', end + 1)) {
    const std::string parent = path.substr(0, end);
    if (!written_dirs_.contains(parent)) BERTH_RETURN_IF_ERROR(write_named(parent));
  }
  return {};
}

Status LayerWriter::write_whiteout(const std::string& path) {
  BERTH_RETURN_IF_ERROR(check_length(path));
  BERTH_RETURN_IF_ERROR(write_parents(path));
  TarEntry entry;
  entry.name = path;
  return archive_.add(entry);
}

Result<TarEntry> LayerWriter::describe(const std::string& path, int fd,
                                       const struct stat& info) const {
  TarEntry entry;
  entry.name = path;
  entry.mode = info.st_mode & 07777;
  entry.uid = info.st_uid;
  entry.gid = info.st_gid;
  entry.mtime = {info.st_mtim.tv_sec, static_cast<int32_t>(info.st_mtim.tv_nsec)};
  if (latest_) entry.mtime = std::min(entry.mtime, *latest_);
  switch (info.st_mode & S_IFMT) {
    case S_IFDIR:
      entry.type = TarType::kDirectory;
      entry.name += '/';
      break;
    case S_IFLNK: {
      entry.type = TarType::kSymlink;
      std::array<char, 4097> target{};
      const ssize_t size = ::readlinkat(fd, "", target.data(), target.size());
      if (size < 0) return errno_status(errno, "read the link " + path);
      entry.link_target.assign(target.data(), static_cast<size_t>(size));
      break;
    }
    case S_IFCHR:
    case S_IFBLK:
      entry.type = S_ISCHR(info.st_mode) ? TarType::kCharDevice : TarType::kBlockDevice;
      entry.dev_major = major(info.st_rdev);
      entry.dev_minor = minor(info.st_rdev);
      break;
    case S_IFIFO:
      entry.type = TarType::kFifo;
      break;
    default:
      entry.size = static_cast<uint64_t>(info.st_size);
      break;
  }
  BERTH_RETURN_IF_ERROR(add_xattrs(fd, path, &entry));
  return entry;
}

Status LayerWriter::write_entry(const Change& change) {
  if (S_ISSOCK(change.info.st_mode)) return {};  // means nothing without the process behind it
  BERTH_RETURN_IF_ERROR(check_length(change.path));
  BERTH_RETURN_IF_ERROR(write_parents(change.path));
  return write_named(change.path);
}

Status LayerWriter::write_named(const std::string& path) {
  UniqueFd file(upper_->resolve(path, O_PATH | O_NOFOLLOW));
  if (!file) return errno_status(-file.release(), "open " + shortened(path));
  struct stat info;
  if (::fstat(file.get(), &info) != 0) return errno_status(errno, "stat " + shortened(path));
  BERTH_ASSIGN_OR_RETURN(TarEntry entry, describe(path, file.get(), info));
  BERTH_RETURN_IF_ERROR(check_length(entry.name));

  std::vector<std::string> more_names;
  if (S_ISDIR(info.st_mode)) {
    written_dirs_.insert(path);
  } else if (info.st_nlink > 1) {
    const Inode inode{info.st_dev, info.st_ino};
    const auto [known, first] = first_name_.try_emplace(inode, path);
    if (!first) {
      entry.type = TarType::kHardLink;
      entry.link_target = known->second;
      entry.size = 0;
    } else if (const auto found = unchanged_names_.find(inode); found != unchanged_names_.end()) {
      more_names = std::move(found->second);
      unchanged_names_.erase(found);
    }
  }
  BERTH_RETURN_IF_ERROR(archive_.add(entry));
  if (entry.type == TarType::kFile && entry.size > 0) {
    BERTH_RETURN_IF_ERROR(write_content(path, file.get(), entry.size));
  }
  for (const std::string& name : more_names) {
    BERTH_RETURN_IF_ERROR(check_length(name));
    BERTH_RETURN_IF_ERROR(write_parents(name));
    entry.type = TarType::kHardLink;
    entry.link_target = path;
    entry.name = name;
    entry.size = 0;
    BERTH_RETURN_IF_ERROR(archive_.add(entry));
  }
  return {};
}

Status LayerWriter::write_content(const std::string& path, int fd, uint64_t size) {
  UniqueFd file(::open(path_of_fd(fd).c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return errno_status(errno, "open " + path);
  const auto buffer = std::make_unique_for_overwrite<std::byte[]>(kPiece);
  while (size > 0) {
    const ssize_t got = ::read(file.get(), buffer.get(), std::min<uint64_t>(kPiece, size));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_status(errno, "read " + path);
    if (got == 0) {
      return aborted("read " + path + ": it became shorter while it was read; pause its writer");
    }
    BERTH_RETURN_IF_ERROR(archive_.write({buffer.get(), static_cast<size_t>(got)}));
    size -= static_cast<uint64_t>(got);
  }
  return {};
}

}  // namespace berth::diff_walking
