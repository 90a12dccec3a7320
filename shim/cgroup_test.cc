#include "cgroup.h"

#include <berth/cgroup_move.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "files.h"

namespace berth::shim {
namespace {

/// In a process of its own, which may be moved; true when `work` was.
bool in_child(const std::function<bool()>& work) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(work() ? 0 : 1);
  int status = 0;
  return child > 0 && ::waitpid(child, &status, 0) == child && status == 0;
}

TEST(CgroupTest, AMoveIsAnticipatedByOneThatChangesNothing) {
  const auto own = cgroup_of(::getpid());
  ASSERT_TRUE(own.ok()) << own.status().to_string();
  if (own->empty() || ::access(own->processes_folder().c_str(), W_OK) != 0) {
    GTEST_SKIP() << "SKIPPED: the cgroup of this process cannot be written to";
  }
  const std::string folder =
      own->processes_folder() + "/berth-cgroup-test-" + std::to_string(::getpid());
  ASSERT_EQ(::mkdir(folder.c_str(), 0755), 0) << folder;
  EXPECT_TRUE(in_child([&] {
    // Not where its siblings are, so that a move to any other place would be seen.
    if (!write_file(folder + "/cgroup.procs", std::to_string(::getpid())).ok()) return false;
    const auto before = read_file("/proc/self/cgroup");
    const Status moved = anticipate_cgroup_move();
    EXPECT_TRUE(moved.ok()) << moved.to_string();
    const auto after = read_file("/proc/self/cgroup");
    return before.ok() && after.ok() && *before == *after && moved.ok() &&
           before->find(folder.substr(folder.rfind('/'))) != std::string::npos;
  }));
  EXPECT_EQ(::rmdir(folder.c_str()), 0);
}

}  // namespace
}  // namespace berth::shim
