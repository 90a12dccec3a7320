#include "abi/file_safety.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

namespace berth::abi {
namespace {

Status check(const std::string& path, const struct stat& info, std::string_view what) {
  if (info.st_uid != 0 && info.st_uid != ::geteuid()) {
    return {Code::kPermissionDenied, std::string("load plugin: ") + std::string(what) + " " + path +
                                         " belongs to uid " + std::to_string(info.st_uid) +
                                         ", not to root: chown root " + path};
  }
  const mode_t others = S_IWOTH | (info.st_gid == 0 ? 0 : S_IWGRP);
  if ((info.st_mode & others) != 0 && (info.st_mode & S_ISVTX) == 0) {
    char mode[8];
    std::snprintf(mode, sizeof mode, "%04o", info.st_mode & 07777);
    return {Code::kPermissionDenied, std::string("load plugin: ") + std::string(what) + " " + path +
                                         " has mode " + mode +
                                         " and can be written by others: chmod go-w " + path};
  }
  return {};
}

}  // namespace

Status check_plugin_directory(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0)
    return errno_status(errno, "look at plugin directory " + path);
  if (!S_ISDIR(info.st_mode))
    return invalid_argument("plugin directory " + path + " is not a directory");
  // A sticky directory keeps others from replacing a file, not from adding one.
  info.st_mode &= ~static_cast<mode_t>(S_ISVTX);
  return check(path, info, "directory");
}

Status check_plugin_file(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return errno_status(errno, "look at plugin " + path);
  if (!S_ISREG(info.st_mode))
    return invalid_argument("load plugin: " + path + " is not a regular file");
  info.st_mode &= ~static_cast<mode_t>(S_ISVTX);
  BERTH_RETURN_IF_ERROR(check(path, info, "file"));
  return check_plugin_directory(std::filesystem::path(path).parent_path().string());
}

}  // namespace berth::abi
