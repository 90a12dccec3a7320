#include "copy_tree.h"

#include <berth/fd.h>
#include <berth/file_tree.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <utility>
#include <vector>

namespace berth::native {
namespace {

constexpr size_t kBuffer = 256 * 1024;

// A name below an open descriptor as a path, for the calls on attributes that take no descriptor
// and must not follow a symbolic link (lgetxattr and kin).
std::string proc_path(int directory_fd, const char* name) {
  return "/proc/self/fd/" + std::to_string(directory_fd) + "/" + name;
}

bool may_be_left_out(std::string_view attribute, int error) {
  // security.* is refused where no module is loaded or to an unprivileged user; nothing else is
  // lost silently.
  return attribute.starts_with("security.") &&
         (error == EPERM || error == EOPNOTSUPP || error == EACCES);
}

Status copy_attributes(const std::string& from, const std::string& to) {
  std::vector<char> names(1024);
  ssize_t size = 0;
  while ((size = ::llistxattr(from.c_str(), names.data(), names.size())) < 0) {
    if (errno == EOPNOTSUPP) return {};
    if (errno != ERANGE) return errno_status(errno, "list extended attributes");
    names.resize(names.size() * 4);
  }
  std::vector<char> value(1024);
  for (const char* name = names.data(); name < names.data() + size;
       name += std::string_view(name).size() + 1) {
    ssize_t length = 0;
    while ((length = ::lgetxattr(from.c_str(), name, value.data(), value.size())) < 0 &&
           errno == ERANGE) {
      value.resize(value.size() * 8);
    }
    if (length < 0) {
      if (errno == ENODATA) continue;
      return errno_status(errno, std::string("read extended attribute ") + name);
    }
    if (::lsetxattr(to.c_str(), name, value.data(), static_cast<size_t>(length), 0) != 0 &&
        !may_be_left_out(name, errno)) {
      return errno_status(errno, std::string("set extended attribute ") + name);
    }
  }
  return {};
}

Status copy_range(int from, int to, off_t begin, off_t end) {
  off_t at = begin;
  while (at < end) {
    loff_t in = at;
    loff_t out = at;
    const ssize_t copied = ::copy_file_range(from, &in, to, &out, static_cast<size_t>(end - at), 0);
    if (copied == 0) return {};  // shorter than it was
    if (copied < 0) {
      if (errno == EINTR) continue;
      if (errno != EXDEV && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP) {
        return errno_status(errno, "copy contents");
      }
      break;
    }
    at += copied;
  }
  std::vector<char> buffer(at < end ? kBuffer : 0);
  while (at < end) {
    const size_t wanted = std::min(buffer.size(), static_cast<size_t>(end - at));
    const ssize_t got = ::pread(from, buffer.data(), wanted, at);
    if (got == 0) return {};
    if (got < 0) {
      if (errno == EINTR) continue;
      return errno_status(errno, "read");
    }
    for (ssize_t done = 0; done < got;) {
      const ssize_t put =
          ::pwrite(to, buffer.data() + done, static_cast<size_t>(got - done), at + done);
      if (put < 0) {
        if (errno == EINTR) continue;
        return errno_status(errno, "write");
      }
      done += put;
    }
    at += got;
  }
  return {};
}

Status copy_contents(int from, int to, off_t size) {
  if (size == 0 || ::ioctl(to, FICLONE, from) == 0) return {};
  if (::ftruncate(to, size) != 0) return errno_status(errno, "set size");
  for (off_t at = 0; at < size;) {
    const off_t begin = ::lseek(from, at, SEEK_DATA);
    if (begin < 0) {
      if (errno == ENXIO) return {};  // a hole up to the end
      return copy_range(from, to, at, size);
    }
    off_t end = ::lseek(from, begin, SEEK_HOLE);
    if (end < 0) end = size;
    BERTH_RETURN_IF_ERROR(copy_range(from, to, begin, std::min(end, size)));
    at = end;
  }
  return {};
}

class Copy final : public TreeVisitor {
 public:
  /// `links` is a folder for the first name of every file with several, for as long as the copy
  /// takes.
  Copy(UniqueFd target, UniqueFd links)
      : current_(std::move(target)), links_folder_(std::move(links)) {}

  Status enter_directory(const TreeEntry& entry) override {
    if (entry.root) return {};
    if (::mkdirat(current_.get(), entry.name, 0700) != 0) {
      return errno_status(errno, "make directory");
    }
    UniqueFd made(::openat(current_.get(), entry.name, kDirectory));
    if (!made) return errno_status(errno, "open directory");
    current_ = std::move(made);
    return {};
  }

  // Only now: adding entries has changed the times, and the mode may forbid to add.
  Status leave_directory(const TreeEntry& entry) override {
    const std::string from = "/proc/self/fd/" + std::to_string(entry.fd) + "/.";
    const std::string to = "/proc/self/fd/" + std::to_string(current_.get()) + "/.";
    BERTH_RETURN_IF_ERROR(copy_attributes(from, to));
    if (::fchown(current_.get(), entry.status.st_uid, entry.status.st_gid) != 0) {
      return errno_status(errno, "set owner");
    }
    if (::fchmod(current_.get(), entry.status.st_mode & 07777) != 0) {
      return errno_status(errno, "set mode");
    }
    const timespec times[2] = {entry.status.st_atim, entry.status.st_mtim};
    if (::futimens(current_.get(), times) != 0) return errno_status(errno, "set times");
    if (entry.root) return {};
    // Nobody else changes the copy, so ".." is where it came from.
    UniqueFd above(::openat(current_.get(), "..", kDirectory));
    if (!above) return errno_status(errno, "return to the directory above");
    current_ = std::move(above);
    return {};
  }

  Status visit(const TreeEntry& entry) override {
    if (entry.status.st_nlink > 1) {
      const auto known = links_.find({entry.status.st_dev, entry.status.st_ino});
      if (known != links_.end()) {
        if (::linkat(links_folder_.get(), known->second.c_str(), current_.get(), entry.name, 0) !=
            0) {
          return errno_status(errno, "make hard link");
        }
        return {};
      }
    }
    BERTH_RETURN_IF_ERROR(make(entry));
    BERTH_RETURN_IF_ERROR(copy_attributes(proc_path(entry.parent_fd, entry.name),
                                          proc_path(current_.get(), entry.name)));
    if (::fchownat(current_.get(), entry.name, entry.status.st_uid, entry.status.st_gid,
                   AT_SYMLINK_NOFOLLOW) != 0) {
      return errno_status(errno, "set owner");
    }
    // After the owner, which takes set-id bits away. A symbolic link has no mode.
    if (!S_ISLNK(entry.status.st_mode) &&
        ::fchmodat(current_.get(), entry.name, entry.status.st_mode & 07777, 0) != 0) {
      return errno_status(errno, "set mode");
    }
    const timespec times[2] = {entry.status.st_atim, entry.status.st_mtim};
    if (::utimensat(current_.get(), entry.name, times, AT_SYMLINK_NOFOLLOW) != 0) {
      return errno_status(errno, "set times");
    }
    if (entry.status.st_nlink > 1) return remember(entry);
    return {};
  }

 private:
  static constexpr int kDirectory = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;

  Status make(const TreeEntry& entry) {
    switch (entry.status.st_mode & S_IFMT) {
      case S_IFREG: {
        const UniqueFd from(
            ::openat(entry.parent_fd, entry.name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
        if (!from) return errno_status(errno, "open");
        struct stat now {};
        if (::fstat(from.get(), &now) != 0) return errno_status(errno, "stat");
        if (!S_ISREG(now.st_mode)) return aborted("it was replaced meanwhile; try again");
        const UniqueFd to(::openat(current_.get(), entry.name,
                                   O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
        if (!to) return errno_status(errno, "make the copy of");
        return copy_contents(from.get(), to.get(), now.st_size);
      }
      case S_IFLNK: {
        std::vector<char> text(static_cast<size_t>(entry.status.st_size) + 1024);
        const ssize_t size =
            ::readlinkat(entry.parent_fd, entry.name, text.data(), text.size() - 1);
        if (size < 0) return errno_status(errno, "read symbolic link");
        text[static_cast<size_t>(size)] = 0;
        if (::symlinkat(text.data(), current_.get(), entry.name) != 0) {
          return errno_status(errno, "make symbolic link");
        }
        return {};
      }
      default:
        if (::mknodat(current_.get(), entry.name, entry.status.st_mode & (S_IFMT | 0700),
                      entry.status.st_rdev) != 0) {
          return errno_status(errno, "make device, FIFO or socket");
        }
        return {};
    }
  }

  // Kept as a further link in a folder that stays open: the directory of the first name may be far
  // away by the time that the second one comes, and holding one descriptor per linked file would be
  // too many.
  Status remember(const TreeEntry& entry) {
    const std::string name = std::to_string(links_.size());
    if (::linkat(current_.get(), entry.name, links_folder_.get(), name.c_str(), 0) != 0) {
      return errno_status(errno, "remember hard link");
    }
    links_.emplace(std::pair(entry.status.st_dev, entry.status.st_ino), name);
    return {};
  }

  UniqueFd current_;
  UniqueFd links_folder_;
  std::map<std::pair<dev_t, ino_t>, std::string> links_;
};

}  // namespace

Status copy_tree(const std::string& source, const std::string& target, const std::string& scratch) {
  UniqueFd fd(::open(target.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return errno_status(errno, "open directory " + target);
  std::string links = scratch + "/XXXXXX";
  if (::mkdtemp(links.data()) == nullptr) return errno_status(errno, "make directory " + links);
  const berth::Cleanup remove([&] { (void)remove_tree(links); });
  UniqueFd links_folder(::open(links.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!links_folder) return errno_status(errno, "open directory " + links);
  Copy copy(std::move(fd), std::move(links_folder));
  return walk_tree(source, copy).with_context("copy to " + target);
}

}  // namespace berth::native
