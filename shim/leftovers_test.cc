#include "leftovers.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "children.h"

namespace berth::shim {
namespace {

class LeftoversTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/berth-leftovers-XXXXXX";
    folder_ = ::mkdtemp(name);
  }
  void TearDown() override {
    for (const pid_t pid : commands_) {
      ::kill(-pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
    }
    std::filesystem::remove_all(folder_);
  }

  /// A process with a command line as of a runtime that takes long.
  pid_t command(const std::string& ns, std::vector<std::string> words) {
    const std::string root = folder_ + "/" + ns;
    std::vector<std::string> all = {"sh", "-c",    "sleep 60; :", "runtime",      "--root",
                                    root, "--log", "/none",       "--log-format", "json"};
    all.insert(all.end(), words.begin(), words.end());
    return process(std::move(all));
  }
  /// One of a shim that was about to run a program.
  pid_t child(const std::string& id, std::vector<std::string> words = {}) {
    std::vector<std::string> all = {"sh",  "-c", "sleep 60; :", "shim", "-namespace", "ns",
                                    "-id", id,   "-address",    "/d"};
    all.insert(all.end(), words.begin(), words.end());
    return process(std::move(all));
  }
  pid_t process(std::vector<std::string> words) {
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::setpgid(0, 0);
      ::execv("/bin/sh", arguments.data());
      ::_exit(1);
    }
    commands_.push_back(pid);
    return pid;
  }
  bool lives(pid_t pid) {
    if (::waitpid(pid, nullptr, WNOHANG) != pid) return true;
    std::erase(commands_, pid);
    ::kill(-pid, SIGKILL);
    return false;
  }

  std::string folder_;
  std::vector<pid_t> commands_;
};

TEST_F(LeftoversTest, CommandsForOneContainerEnd) {
  RuntimeOptions options;
  options.root = folder_;
  Children children([](const Exit&) {});
  const Runtime runtime(&children, options, "ns", folder_);
  const std::vector<pid_t> its = {
      command("ns", {"create", "--bundle", "/b", "9"}),
      command("ns", {"start", "9"}),
      command("ns", {"kill", "9", "15"}),
      command("ns", {"kill", "--all", "9", "9"}),
      command("ns", {"--systemd-cgroup", "delete", "9"}),
  };
  const std::vector<pid_t> others = {
      command("ns", {"kill", "c1", "9"}), command("ns", {"kill", "--all", "c1", "9"}),
      command("ns", {"start", "c1"}),     command("other", {"start", "9"}),
      command("ns", {"state"}),
  };
  // They have to have become what they are to be.
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  end_commands(runtime, "9");
  for (const pid_t pid : its) EXPECT_FALSE(lives(pid)) << pid - its.front();
  for (const pid_t pid : others) EXPECT_TRUE(lives(pid)) << pid - others.front();
}

TEST_F(LeftoversTest, ChildrenThatHaveYetToRunACommandEndWithADeadShim) {
  RuntimeOptions options;
  options.root = folder_;
  Children children([](const Exit&) {});
  const Runtime runtime(&children, options, "ns", folder_);
  const pid_t its = child("c1");
  const pid_t of_another = child("c2");
  const pid_t deletes = child("c1", {"-bundle", "/b", "delete"});
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  end_commands(runtime, "c1");
  EXPECT_TRUE(lives(its));
  Arguments shim;
  shim.ns = "ns";
  shim.id = "c1";
  shim.address = "/d";
  end_commands(runtime, "c1", shim);
  EXPECT_FALSE(lives(its));
  EXPECT_TRUE(lives(of_another));
  EXPECT_TRUE(lives(deletes));
}

}  // namespace
}  // namespace berth::shim
