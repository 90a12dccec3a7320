// The shared suite against real overlay mounts, and what is particular to this snapshotter.
#include "overlay.h"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>

#include "testing/snapshotter_suite.h"

namespace berth::overlay {
namespace {

using berth::testing::SnapshotterSuite;
using berth::testing::SnapshotterUnderTest;

Result<std::unique_ptr<Snapshotter>> open_overlay(SnapshotterOptions common) {
  Options options;
  options.common = std::move(common);
  auto overlay = std::make_unique<Overlay>(std::move(options));
  BERTH_RETURN_IF_ERROR(overlay->open());
  return std::unique_ptr<Snapshotter>(std::move(overlay));
}

}  // namespace
}  // namespace berth::overlay

namespace berth::testing {
INSTANTIATE_TEST_SUITE_P(Overlay, SnapshotterSuite,
                         ::testing::Values(SnapshotterUnderTest{.open = overlay::open_overlay,
                                                                .folders = {"snapshots"}}));
}  // namespace berth::testing

namespace berth::overlay {
namespace {

TEST(OverlaySupport, WorksHereAndLeavesNothing) {
  if (::geteuid() != 0) GTEST_SKIP() << "mounting needs root";
  char name[] = "/tmp/berth-overlay-XXXXXX";
  ASSERT_NE(::mkdtemp(name), nullptr);
  const Status supported = check_support(name);
  EXPECT_TRUE(supported.ok()) << supported.to_string();
  EXPECT_TRUE(std::filesystem::is_empty(name));
  EXPECT_EQ(::rmdir(name), 0);
}

TEST(OverlaySupport, WorksBelowALongPath) {
  if (::geteuid() != 0) GTEST_SKIP() << "mounting needs root";
  char name[] = "/tmp/berth-overlay-XXXXXX";
  ASSERT_NE(::mkdtemp(name), nullptr);
  const Cleanup removed([&] { std::filesystem::remove_all(name); });
  const std::string deep =
      std::string(name) + "/" + std::string(200, 'a') + "/" + std::string(200, 'b');
  ASSERT_TRUE(std::filesystem::create_directories(deep));
  const Status supported = check_support(deep);
  EXPECT_TRUE(supported.ok()) << supported.to_string();
}

// overlayfs refuses some file systems as upper layer, procfs is one in which nothing can be made at
// all.
TEST(OverlaySupport, RefusesWithAReason) { EXPECT_FALSE(check_support("/proc").ok()); }

TEST(OverlaySupport, AnOverlayIsNoPlaceForAnother) {
  if (::geteuid() != 0) GTEST_SKIP() << "mounting needs root";
  char name[] = "/tmp/berth-overlay-XXXXXX";
  ASSERT_NE(::mkdtemp(name), nullptr);
  const std::string folder = name;
  const Cleanup removed([&] { std::filesystem::remove_all(folder); });
  for (const char* one : {"/lower", "/upper", "/work", "/merged"}) {
    ASSERT_TRUE(std::filesystem::create_directory(folder + one));
  }
  const std::string options =
      "lowerdir=" + folder + "/lower,upperdir=" + folder + "/upper,workdir=" + folder + "/work";
  const std::string merged = folder + "/merged";
  ASSERT_EQ(::mount("overlay", merged.c_str(), "overlay", 0, options.c_str()), 0);
  const Cleanup unmounted([&] { ::umount2(merged.c_str(), MNT_DETACH); });
  const Status refused = check_support(merged);
  EXPECT_EQ(refused.code(), Code::kFailedPrecondition) << refused.to_string();
  EXPECT_NE(refused.message().find("overlayfs does not work in " + merged), std::string::npos)
      << refused.message();
}

}  // namespace
}  // namespace berth::overlay
