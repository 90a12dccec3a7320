// With runtimes of a few lines of shell. Needs no root.
#include "leftovers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "testing/folder.h"

namespace berth::runtime {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;

class Leftovers : public ::testing::Test {
 protected:
  Leftovers() {
    fs::create_directories(bundle_.path());
    write(bundle_.path() + "/options.json",
          R"({"root":")" + (folder_ / "states") + R"(","systemd_cgroup":true})");
    write(bundle_.path() + "/runtime", folder_ / "runtime");
  }
  static void write(const std::string& path, const std::string& text) {
    std::ofstream(path) << text;
  }
  /// The commands it gets are in "asked".
  void runtime_is(const std::string& lines) {
    const std::string path = folder_ / "runtime";
    write(path, "#!/bin/sh\necho \"$*\" >>" + (folder_ / "asked") + "\n" + lines + "\n");
    fs::permissions(path, fs::perms::owner_all);
  }
  std::string asked() {
    std::ifstream file(folder_ / "asked");
    return {std::istreambuf_iterator<char>(file), {}};
  }
  Status remove(std::chrono::nanoseconds timeout = 10s) {
    return remove_by_runtime(bundle_, "/usr/bin:/bin", timeout);
  }

  const berth::testing::TestFolder folder_;
  const std::string state_ = folder_ / "states/space/one";
  const shim_client::Bundle bundle_{{folder_ / "state", folder_ / "root"}, {"space", "one"}};
};

TEST_F(Leftovers, AContainerIsResumedEndedAndRemoved) {
  fs::create_directories(state_);
  runtime_is("[ \"$4\" = resume ] && exit 1\nrm -r " + state_);
  const Status removed = remove();
  EXPECT_TRUE(removed.ok()) << removed.to_string();
  const std::string common = "--root " + (folder_ / "states/space") + " --systemd-cgroup ";
  EXPECT_EQ(asked(), common + "resume one\n" + common + "delete --force one\n");
}

TEST_F(Leftovers, WhereThereIsNoStateNothingIsRun) {
  runtime_is("");
  EXPECT_TRUE(remove().ok());
  EXPECT_EQ(asked(), "");
}

TEST_F(Leftovers, ARefusalSaysWhatIsLeftAndWhatToDo) {
  fs::create_directories(state_);
  runtime_is("echo no way >&2; exit 1");
  EXPECT_THAT(remove().message(),
              AllOf(HasSubstr("no way"), HasSubstr(state_),
                    HasSubstr((folder_ / "runtime") + " --root " + (folder_ / "states/space") +
                              " --systemd-cgroup delete --force one")));
}

TEST_F(Leftovers, ARuntimeThatHangsIsGivenUp) {
  fs::create_directories(state_);
  runtime_is("exec sleep 1000");
  const auto began = std::chrono::steady_clock::now();
  EXPECT_THAT(remove(200ms).message(), AllOf(HasSubstr("did not end in time"), HasSubstr(state_)));
  EXPECT_LT(std::chrono::steady_clock::now() - began, 20s);
}

TEST_F(Leftovers, NonsenseInTheBundleIsNoOptions) {
  for (const char* text : {"", "[", "[]", R"({"root":7})", R"({"root":""})"}) {
    write(bundle_.path() + "/options.json", text);
    EXPECT_TRUE(remove().ok()) << text;  // there is no such namespace below runc's own folder
  }
}

}  // namespace
}  // namespace berth::runtime
