#include "directory.h"

#include <dirent.h>
#include <fcntl.h>

#include <memory>

namespace berth::content {
namespace {

constexpr mode_t kDirectoryMode = 0700;  // CVE-2021-41103: nobody else looks into these
constexpr int kAddedFlags = O_CLOEXEC | O_NOFOLLOW;

Status make_with_parents(const std::string& path) {
  for (size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string part = path.substr(0, end);
    if (!part.empty() && ::mkdir(part.c_str(), kDirectoryMode) != 0 && errno != EEXIST) {
      return errno_status(errno, "make directory " + part);
    }
    if (end == std::string::npos) return {};
  }
}

}  // namespace

Result<Directory> Directory::open(const std::string& path) {
  if (!path.starts_with('/')) {
    return invalid_argument("open directory \"" + path + "\": the path must be absolute");
  }
  BERTH_RETURN_IF_ERROR(make_with_parents(path));
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return errno_status(errno, "open directory " + path);
  return Directory(std::move(fd), path);
}

Result<Directory> Directory::open_below(const std::string& name) const {
  BERTH_ASSIGN_OR_RETURN(UniqueFd fd, open_file(name, O_RDONLY | O_DIRECTORY));
  return Directory(std::move(fd), path_of(name));
}

Result<bool> Directory::make(const std::string& name) const {
  if (::mkdirat(fd(), name.c_str(), kDirectoryMode) == 0) return true;
  if (errno == EEXIST) return false;
  return errno_status(errno, "make directory " + path_of(name));
}

Result<UniqueFd> Directory::open_file(const std::string& name, int flags, mode_t mode) const {
  UniqueFd file(::openat(fd(), name.c_str(), flags | kAddedFlags, mode));
  if (!file) return errno_status(errno, "open " + path_of(name));
  return file;
}

Result<struct stat> Directory::stat(const std::string& name) const {
  struct stat status {};
  if (::fstatat(fd(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
    return errno_status(errno, "stat " + path_of(name));
  }
  return status;
}

Result<std::string> Directory::read(const std::string& name, size_t limit) const {
  BERTH_ASSIGN_OR_RETURN(const UniqueFd file, open_file(name, O_RDONLY));
  std::string contents;
  char buffer[4096];
  while (true) {
    const ssize_t count = ::read(file.get(), buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno_status(errno, "read " + path_of(name));
    if (count == 0) return contents;
    contents.append(buffer, static_cast<size_t>(count));
    if (contents.size() > limit) {
      return data_loss("read " + path_of(name) + ": larger than the " + std::to_string(limit) +
                       " bytes that are possible");
    }
  }
}

Status Directory::write(const std::string& name, std::string_view contents) const {
  const std::string unfinished = name + ".tmp";
  BERTH_ASSIGN_OR_RETURN(const UniqueFd file,
                         open_file(unfinished, O_WRONLY | O_CREAT | O_TRUNC, 0600));
  size_t written = 0;
  while (written < contents.size()) {
    const ssize_t count = ::write(file.get(), contents.data() + written, contents.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const int error = errno;
      ::unlinkat(fd(), unfinished.c_str(), 0);
      return errno_status(error, "write " + path_of(unfinished));
    }
    written += static_cast<size_t>(count);
  }
  if (::renameat(fd(), unfinished.c_str(), fd(), name.c_str()) != 0) {
    return errno_status(errno, "rename " + path_of(unfinished) + " to " + name);
  }
  return {};
}

Status Directory::unlink(const std::string& name) const {
  if (::unlinkat(fd(), name.c_str(), 0) != 0) return errno_status(errno, "remove " + path_of(name));
  return {};
}

Status Directory::remove_tree(const std::string& name) const {
  // Again when another thread has put a file in meanwhile; a writer does so a few times at most.
  constexpr int kAttempts = 8;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    BERTH_ASSIGN_OR_RETURN(const Directory directory, open_below(name));
    BERTH_ASSIGN_OR_RETURN(const std::vector<std::string> entries, directory.names());
    for (const std::string& entry : entries) {
      const Status removed = directory.unlink(entry);
      if (!removed.ok() && removed.code() != Code::kNotFound) return removed;
    }
    if (::unlinkat(fd(), name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return {};
    if (errno != ENOTEMPTY) break;
  }
  return errno_status(errno, "remove directory " + path_of(name));
}

Result<std::vector<std::string>> Directory::names() const {
  // A descriptor of its own: the position of a directory stream belongs to the open file.
  BERTH_ASSIGN_OR_RETURN(UniqueFd own, open_file(".", O_RDONLY | O_DIRECTORY));
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(own.get()), &::closedir);
  if (!stream) return errno_status(errno, "list " + path_);
  (void)own.release();  // closed with the stream
  std::vector<std::string> names;
  while (true) {
    errno = 0;
    const dirent* entry = ::readdir(stream.get());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return errno_status(errno, "list " + path_);
  return names;
}

Status Directory::sync() const {
  if (::fsync(fd()) != 0) return errno_status(errno, "sync directory " + path_);
  return {};
}

}  // namespace berth::content
