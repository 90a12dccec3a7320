// Which file a program is. Linux only.
#pragma once

#include <berth/status.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace berth {

/// Whether there is a file of that path that this process may execute. Any thread.
inline bool is_program(const std::string& path) {
  struct stat found {};
  return ::stat(path.c_str(), &found) == 0 && S_ISREG(found.st_mode) &&
         ::access(path.c_str(), X_OK) == 0;
}

/// The file that execvp() would run for `name`: a path as it stands, a name as the first of that
/// name in PATH that may be executed. NOT_FOUND otherwise. Any thread.
inline Result<std::string> find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) {
    if (is_program(name)) return name;
    return not_found("find the program " + name + ": no such file that may be executed");
  }
  const char* const set = ::getenv("PATH");
  std::string_view rest = set != nullptr ? set : "/bin:/usr/bin";
  while (!name.empty()) {
    const size_t end = rest.find(':');
    const std::string path = std::string(rest.substr(0, end)) + "/" + name;
    if (path.front() == '/' && is_program(path)) return path;
    if (end == std::string_view::npos) break;
    rest.remove_prefix(end + 1);
  }
  return not_found("find the program \"" + name + "\": it is in no folder of PATH");
}

/// Text without spaces that is another one for every other file, and for the same file after its
/// content or mode was changed. Errors as of stat(2). Any thread.
inline Result<std::string> file_identity(const std::string& path) {
  struct stat found {};
  if (::stat(path.c_str(), &found) != 0) return errno_status(errno, "look at " + path);
  std::string text;
  for (const int64_t number :
       {static_cast<int64_t>(found.st_dev), static_cast<int64_t>(found.st_ino),
        static_cast<int64_t>(found.st_size), static_cast<int64_t>(found.st_mtim.tv_sec),
        static_cast<int64_t>(found.st_mtim.tv_nsec), static_cast<int64_t>(found.st_ctim.tv_sec),
        static_cast<int64_t>(found.st_ctim.tv_nsec)}) {
    if (!text.empty()) text += ':';
    text += std::to_string(number);
  }
  return text;
}

}  // namespace berth
