#include "direct_runtimes.h"

#include <berth/program_file.h>
#include <sys/stat.h>

#include <fstream>

#include "testing.h"

namespace berth::runtime {
namespace {

TEST(DirectRuntimes, VersionsAreReadFromTheFirstLine) {
  EXPECT_EQ(parse_runtime_version("runc version 1.1.5+ds1\ncommit: 1.1.5\n"), "runc 1.1");
  EXPECT_EQ(parse_runtime_version("crun version 1.8.1\n"), "crun 1.8");
  EXPECT_EQ(parse_runtime_version("runc version 1.10\n"), "runc 1.10");
  for (const char* other :
       {"", "runc version \n", "runc version 1\n", "runc version 1.\n", "runc version unknown\n",
        "runcx version 1.1.5\n", "youki version 0.3.0\n",
        "NVIDIA Container Runtime version 1.13\nrunc version 1.1.5\n"}) {
    EXPECT_EQ(parse_runtime_version(other), "") << other;
  }
}

TEST(DirectRuntimes, OnlyKnownNamesWithTwoNumbersAreTaken) {
  for (const char* good : {"runc 1.1", "crun 1.8", "crun 1.29"}) {
    EXPECT_TRUE(DirectRuntimes::check(good).ok()) << good;
  }
  for (const char* wrong : {"", "runc", "runc ", "runc 1", "runc 1.", "runc 1.1.5", "runc  1.1",
                            "youki 0.3", "crun 1.x"}) {
    EXPECT_EQ(DirectRuntimes::check(wrong).code(), Code::kInvalidArgument) << wrong;
  }
}

TEST(DirectRuntimes, ScriptsAndOtherProgramsAreNone) {
  const TestFolder folder;
  const std::string script = folder / "runc";
  std::ofstream(script) << "#!/bin/sh\necho runc version 1.1.5\n";
  ASSERT_EQ(::chmod(script.c_str(), 0755), 0);
  DirectRuntimes runtimes({"runc 1.1", "crun 1.8"});
  EXPECT_EQ(runtimes.told_of(script), "");
  EXPECT_EQ(runtimes.told_of("/bin/true"), "");
  EXPECT_EQ(runtimes.told_of(folder / "absent"), "");
  EXPECT_EQ(runtimes.told_of("no-such-runtime-anywhere"), "");
}

TEST(DirectRuntimes, KnownOnesAreToldWithTheirFile) {
  for (const std::string name : {"runc", "crun"}) {
    const auto path = find_program(name);
    if (!path.ok()) GTEST_SKIP() << path.status().message();
    DirectRuntimes debian({"runc 1.1", "crun 1.8"});
    const std::string told = debian.told_of(name);
    EXPECT_EQ(told, name + " " + *file_identity(*path));
    EXPECT_EQ(debian.told_of(*path), told) << "the second time from memory";
    EXPECT_EQ(DirectRuntimes({"runc 1.0", "crun 1.0"}).told_of(name), "") << "another version";
    EXPECT_EQ(DirectRuntimes({}).told_of(name), "");
  }
}

TEST(DirectRuntimes, AnotherFileIsAnotherIdentity) {
  const TestFolder folder;
  const std::string path = folder / "file";
  std::ofstream(path) << "one";
  const std::string before = *file_identity(path);
  EXPECT_EQ(*file_identity(path), before);
  ASSERT_EQ(::chmod(path.c_str(), 0700), 0);
  EXPECT_NE(*file_identity(path), before);
  EXPECT_FALSE(file_identity(folder / "absent").ok());
}

}  // namespace
}  // namespace berth::runtime
