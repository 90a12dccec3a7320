#include "abi/runtime_libraries.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace berth::abi {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

const std::vector<std::string> kPresent = {"linux-vdso.so.1", "/usr/lib/libprotobuf.so.32",
                                           "/lib/libre2.so.9", "/lib/libfmt.so.9",
                                           "/lib/libc.so.6"};

TEST(RuntimeLibraries, TheSameAndOthersPass) {
  EXPECT_TRUE(check_runtime_libraries("p.so", {}, kPresent).ok());
  EXPECT_TRUE(
      check_runtime_libraries("p.so", {"libprotobuf.so.32", "libre2.so.9", "libc.so.6"}, kPresent)
          .ok());
  EXPECT_TRUE(check_runtime_libraries("p.so", {"libprotobuf-lite.so.32"}, kPresent).ok());
  EXPECT_TRUE(check_runtime_libraries("p.so", {"libprotobuf-c.so.1"}, kPresent).ok())
      << "another library";
  EXPECT_TRUE(check_runtime_libraries("p.so", {"libfmt.so.10"}, kPresent).ok())
      << "its symbols have its version in their names";
  EXPECT_TRUE(check_runtime_libraries("p.so", {"libprotobuf.so.33"}, {"/lib/libc.so.6"}).ok())
      << "there is none";
}

TEST(RuntimeLibraries, AnotherVersionIsRefused) {
  const Status lite =
      check_runtime_libraries("p.so", {"libc.so.6", "libprotobuf-lite.so.33"}, kPresent);
  EXPECT_EQ(lite.code(), Code::kFailedPrecondition);
  EXPECT_EQ(lite.message(),
            "load plugin p.so: it needs libprotobuf-lite.so.33, and this host runs with "
            "libprotobuf.so.32, whose symbols have the same names: install the release of it that "
            "was built for this distribution, or rebuild it");
  EXPECT_FALSE(check_runtime_libraries("p.so", {"libprotobuf.so.31"}, kPresent).ok());
  EXPECT_FALSE(check_runtime_libraries("p.so", {"libre2.so.10"}, kPresent).ok());
  EXPECT_FALSE(check_runtime_libraries("p.so", {"libre2.so"}, kPresent).ok());
}

TEST(RuntimeLibraries, OfAProgramAreThoseThatItRunsWith) {
  EXPECT_THAT(libraries_of_program(), Contains(HasSubstr("libc.so.6")));
}

}  // namespace
}  // namespace berth::abi
