#include "direct.h"

#include <berth/fd.h>
#include <berth/program_file.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "files.h"

namespace berth::shim {
namespace {

class DirectTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/berth-direct-XXXXXX";
    state_ = ::mkdtemp(name);
    fifo_ = state_ + "/exec.fifo";
  }
  void TearDown() override {
    std::filesystem::remove_all(state_);
    for (const std::string& folder : cgroups_) ::rmdir(folder.c_str());
  }

  void make_fifo() { ASSERT_EQ(::mkfifo(fifo_.c_str(), 0600), 0); }
  bool there(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }
  /// A cgroup of this test's in every hierarchy where one can be made; its path in them.
  std::string make_cgroups() {
    std::string path = "/berth-direct-test-" + std::to_string(::getpid());
    const auto own = cgroup_of(::getpid());
    if (!own.ok()) return path;
    std::vector<std::string> folders = {"/sys/fs/cgroup" + path};
    for (const auto& [controller, folder] : own->controllers) {
      folders.push_back("/sys/fs/cgroup/" + controller + path);
    }
    for (const std::string& folder : folders) {
      // In the folder of hierarchies of version 1 an ordinary one could be made.
      if (own->unified.empty() && folder == folders.front()) continue;
      if (::mkdir(folder.c_str(), 0755) == 0) cgroups_.push_back(folder);
    }
    cgroup_ = parse_cgroup(own->unified.empty() ? "3:memory:" + path + "\n" : "0::" + path + "\n",
                           !own->unified.empty());
    return path;
  }
  SpecFacts facts(const std::string& cgroups_path) {
    SpecFacts made;
    made.own_pid_namespace = true;
    made.cgroups_path = cgroups_path;
    return made;
  }
  void fill(std::initializer_list<const char*> names) {
    for (const char* name : names) ASSERT_TRUE(write_file(state_ + "/" + name, "{}").ok());
  }

  std::string state_;
  std::string fifo_;
  std::vector<std::string> cgroups_;
  Cgroup cgroup_;
};

TEST_F(DirectTest, ARuntimeIsKnownByItsFile) {
  const std::string program = state_ + "/runc";
  ASSERT_TRUE(write_file(program,
                         "\x7f"
                         "ELF",
                         0755)
                  .ok());
  const std::string identity = *file_identity(program);
  EXPECT_EQ(direct_kind("runc " + identity, program), DirectKind::kRunc);
  EXPECT_EQ(direct_kind("crun " + identity, program), DirectKind::kCrun);
  EXPECT_EQ(direct_kind("youki " + identity, program), DirectKind::kNone);
  EXPECT_EQ(direct_kind("runc", program), DirectKind::kNone);
  EXPECT_EQ(direct_kind("", program), DirectKind::kNone);
  EXPECT_EQ(direct_kind("runc " + identity, "/bin/true"), DirectKind::kNone) << "another file";
  EXPECT_EQ(direct_kind("runc " + identity, state_ + "/absent"), DirectKind::kNone);
  ASSERT_EQ(::chmod(program.c_str(), 0700), 0);
  EXPECT_EQ(direct_kind("runc " + identity, program), DirectKind::kNone) << "it was changed";
  ::setenv("BERTH_DIRECT_RUNTIME", ("runc " + *file_identity(program)).c_str(), 1);
  EXPECT_EQ(direct_kind(program), DirectKind::kRunc);
  ::unsetenv("BERTH_DIRECT_RUNTIME");
  EXPECT_EQ(direct_kind(program), DirectKind::kNone);
}

TEST_F(DirectTest, WhatOnlyTheRuntimeCanDoIsLeftToIt) {
  const auto spec = [](const std::string& more) {
    return *read_spec(R"({"linux":{"cgroupsPath":"/a/b","namespaces":[{"type":"pid"}]})" + more +
                      "}");
  };
  EXPECT_TRUE(is_direct(spec("")));
  EXPECT_TRUE(is_direct(spec(R"(,"hooks":{"prestart":[{"path":"/x"}],"poststop":[]})")));
  EXPECT_TRUE(is_direct(spec(R"(,"annotations":{"poststop":"x"})")));
  EXPECT_FALSE(is_direct(spec(R"(,"hooks":{"poststop":[{"path":"/x"}]})")));
  EXPECT_FALSE(is_direct(spec(R"(,"hooks":{"poststart":[{"path":"/x"}]})")));
  const auto linux_with = [](const std::string& text) {
    return is_direct(*read_spec(R"({"linux":{)" + text + "}}"));
  };
  const std::string own = R"("namespaces":[{"type":"pid"}])";
  EXPECT_TRUE(linux_with(own + R"(,"cgroupsPath":"/a")"));
  EXPECT_FALSE(linux_with(own + R"(,"cgroupsPath":"a/b")")) << "below the runtime's own cgroup";
  EXPECT_FALSE(linux_with(own + R"(,"cgroupsPath":"system.slice:runc:x")")) << "systemd's";
  EXPECT_FALSE(linux_with(own));
  EXPECT_FALSE(linux_with(own + R"(,"cgroupsPath":"/a","intelRdt":{"closID":"x"})"));
  EXPECT_FALSE(
      linux_with(R"("cgroupsPath":"/a","namespaces":[{"type":"pid","path":"/proc/1/ns/pid"}])"))
      << "others may be left";
}

TEST_F(DirectTest, RuncIsStartedWhenItsProcessHasBecomeTheProgram) {
  make_fifo();
  std::atomic<bool> let_go = false;
  std::thread process([&] {
    const UniqueFd writing(::open(fifo_.c_str(), O_WRONLY | O_CLOEXEC));
    EXPECT_EQ(::write(writing.get(), "0", 1), 1);
    ::usleep(50'000);
    let_go = true;
  });
  EXPECT_TRUE(direct_start(DirectKind::kRunc, state_, [] { return false; }));
  EXPECT_TRUE(let_go) << "not before it has closed its end";
  EXPECT_FALSE(there(fifo_)) << "its absence tells that it was started";
  process.join();
}

TEST_F(DirectTest, AProcessThatEndsBeforeItComesToTheFifoIsTheRuntimesToTell) {
  make_fifo();
  int asked = 0;
  EXPECT_FALSE(direct_start(DirectKind::kRunc, state_, [&] { return ++asked == 2; }));
  EXPECT_EQ(asked, 2);
  EXPECT_TRUE(there(fifo_));
  // One that closes it without a byte.
  std::thread process([&] { const UniqueFd opened(::open(fifo_.c_str(), O_WRONLY | O_CLOEXEC)); });
  EXPECT_FALSE(direct_start(DirectKind::kRunc, state_, [] { return false; }));
  process.join();
  EXPECT_TRUE(there(fifo_));
  EXPECT_FALSE(direct_start(DirectKind::kCrun, state_, [] { return true; })) << "nobody reads";
  EXPECT_TRUE(there(fifo_));
}

TEST_F(DirectTest, CrunIsStartedByAByte) {
  make_fifo();
  const UniqueFd reading(::open(fifo_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  ASSERT_TRUE(reading);
  EXPECT_TRUE(direct_start(DirectKind::kCrun, state_, [] { return false; }));
  char byte = 'x';
  EXPECT_EQ(::read(reading.get(), &byte, 1), 1);
  EXPECT_EQ(byte, 0);
  EXPECT_FALSE(there(fifo_));
}

TEST_F(DirectTest, NothingIsStartedWithoutAFifoOrAKnownRuntime) {
  for (const DirectKind kind : {DirectKind::kNone, DirectKind::kRunc, DirectKind::kCrun}) {
    EXPECT_FALSE(direct_start(kind, state_, [] { return false; }));
  }
  make_fifo();
  const UniqueFd reading(::open(fifo_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  EXPECT_FALSE(direct_start(DirectKind::kNone, state_, [] { return false; }));
  EXPECT_TRUE(there(fifo_));
}

TEST_F(DirectTest, CgroupsAndStateAreRemoved) {
  const SpecFacts made = facts(make_cgroups());
  if (cgroups_.empty()) GTEST_SKIP() << "SKIPPED: no cgroup can be made here";
  for (const std::string& folder : cgroups_) {
    // The container's own, below it.
    EXPECT_EQ(::mkdir((folder + "/inner").c_str(), 0755), 0);
    EXPECT_EQ(::mkdir((folder + "/inner/deeper").c_str(), 0755), 0);
  }
  fill({"state.json", "more"});
  EXPECT_TRUE(direct_remove(DirectKind::kRunc, state_, made, cgroup_));
  for (const std::string& folder : cgroups_) EXPECT_FALSE(there(folder)) << folder;
  EXPECT_FALSE(there(state_));
}

TEST_F(DirectTest, ACgroupThatIsInUseIsTheRuntimesToEmpty) {
  const SpecFacts made = facts(make_cgroups());
  if (cgroups_.empty()) GTEST_SKIP() << "SKIPPED: no cgroup can be made here";
  const pid_t inside = ::fork();
  if (inside == 0) {
    ::pause();
    ::_exit(0);
  }
  const bool moved =
      write_file(cgroup_.processes_folder() + "/cgroup.procs", std::to_string(inside)).ok();
  fill({"status"});
  if (moved) {
    EXPECT_FALSE(remove_cgroups(made.cgroups_path, std::chrono::milliseconds(10)));
    EXPECT_FALSE(direct_remove(DirectKind::kCrun, state_, made, cgroup_));
    EXPECT_TRUE(there(state_ + "/status")) << "the runtime needs it";
  }
  ::kill(inside, SIGKILL);
  ::waitpid(inside, nullptr, 0);
  EXPECT_TRUE(direct_remove(DirectKind::kCrun, state_, made, cgroup_));
  EXPECT_FALSE(there(state_));
}

TEST_F(DirectTest, AnUnknownStateIsLeftAlone) {
  const SpecFacts made = facts(make_cgroups());
  if (cgroups_.empty()) GTEST_SKIP() << "SKIPPED: no cgroup can be made here";
  EXPECT_FALSE(direct_remove(DirectKind::kRunc, state_, made, cgroup_)) << "it has nothing";
  fill({"status"});
  EXPECT_FALSE(direct_remove(DirectKind::kRunc, state_, made, cgroup_)) << "it is crun's";
  EXPECT_FALSE(direct_remove(DirectKind::kNone, state_, made, cgroup_));
  ASSERT_EQ(::mkdir((state_ + "/folder").c_str(), 0755), 0);
  EXPECT_FALSE(direct_remove(DirectKind::kCrun, state_, made, cgroup_)) << "it has a folder";
  for (const std::string& folder : cgroups_) EXPECT_TRUE(there(folder)) << folder;
  ASSERT_EQ(::rmdir((state_ + "/folder").c_str()), 0);
  EXPECT_FALSE(
      direct_remove(DirectKind::kCrun, state_, facts("/berth-direct-test-elsewhere"), cgroup_))
      << "its process was in another cgroup";
  EXPECT_TRUE(there(state_ + "/status"));
}

}  // namespace
}  // namespace berth::shim
