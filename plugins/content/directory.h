// Files below a directory that is open. No link is followed below it, and no path is resolved
// twice.
#pragma once

#include <berth/fd.h>
#include <berth/status.h>
#include <sys/stat.h>

#include <string>
#include <string_view>
#include <vector>

namespace berth::content {

/// A directory, held open, with its path for error messages. Movable; any thread.
class Directory {
 public:
  Directory() = default;

  /// Opens the directory at an absolute path, making it and its parents (0700) when absent. Links
  /// in the path itself are followed: where the store lies is the administrator's choice.
  static Result<Directory> open(const std::string& path);

  /// The directory `name` in this one. NOT_FOUND when there is none.
  Result<Directory> open_below(const std::string& name) const;
  /// Makes `name` (0700); false when it was there already.
  Result<bool> make(const std::string& name) const;

  /// Opens a file with `flags`; O_CLOEXEC and O_NOFOLLOW are added.
  Result<UniqueFd> open_file(const std::string& name, int flags, mode_t mode = 0) const;
  /// Its type, size and times, of the link itself if it is one.
  Result<struct stat> stat(const std::string& name) const;
  /// Whole contents of a small file; DATA_LOSS when it is larger than `limit` bytes.
  Result<std::string> read(const std::string& name, size_t limit = 64 << 10) const;
  /// Writes a small file, replacing one of that name at once or not at all.
  Status write(const std::string& name, std::string_view contents) const;

  /// Removes a file. NOT_FOUND when there is none.
  Status unlink(const std::string& name) const;
  /// Removes a directory and the files in it (one level: nothing here nests deeper). NOT_FOUND when
  /// there is none.
  Status remove_tree(const std::string& name) const;
  /// Names of all entries, in no order.
  Result<std::vector<std::string>> names() const;
  /// Makes the entries durable.
  Status sync() const;

  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }
  std::string path_of(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  Directory(UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  UniqueFd fd_;
  std::string path_;
};

}  // namespace berth::content
