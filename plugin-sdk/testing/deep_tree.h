// Trees that are deeper than a path may be long, than a handler's stack holds calls, and than a
// process usually may have descriptors. Whoever may write to a container's root can make one.
#pragma once

#include <berth/fd.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace berth::testing {

inline constexpr int kDeepLevels = 5000;

/// The directory below `root` after `levels` steps into "d", or none.
inline UniqueFd descend(const std::string& root, int levels) {
  UniqueFd at(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (int i = 0; at && i < levels; ++i) {
    at.reset(::openat(at.get(), "d", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  }
  return at;
}

/// Directories "d" in one another, and the empty file "f" in the last.
inline void make_deep_tree(const std::string& root, int levels = kDeepLevels) {
  UniqueFd at = descend(root, 0);
  for (int i = 0; i < levels; ++i) {
    ASSERT_EQ(::mkdirat(at.get(), "d", 0755), 0) << "level " << i << ": " << std::strerror(errno);
    at.reset(::openat(at.get(), "d", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    ASSERT_TRUE(at) << "level " << i << ": " << std::strerror(errno);
  }
  UniqueFd file(::openat(at.get(), "f", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644));
  ASSERT_TRUE(file) << std::strerror(errno);
}

/// Whether what make_deep_tree() makes is all there.
inline bool has_deep_tree(const std::string& root, int levels = kDeepLevels) {
  const UniqueFd at = descend(root, levels);
  struct stat status {};
  return at && ::fstatat(at.get(), "f", &status, AT_SYMLINK_NOFOLLOW) == 0;
}

/// As many descriptors as a process gets that nobody has given more, for as long as this lives.
class UsualDescriptors {
 public:
  UsualDescriptors() {
    EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &before_), 0);
    rlimit usual = before_;
    if (usual.rlim_cur > kUsual) usual.rlim_cur = kUsual;
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &usual), 0);
  }
  ~UsualDescriptors() { EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &before_), 0); }
  UsualDescriptors(const UsualDescriptors&) = delete;
  UsualDescriptors& operator=(const UsualDescriptors&) = delete;

 private:
  static constexpr rlim_t kUsual = 1024;
  rlimit before_{};
};

}  // namespace berth::testing
