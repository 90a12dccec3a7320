// The shared suite against real bind mounts.
#include "native.h"

#include <gtest/gtest.h>

#include "testing/snapshotter_suite.h"

namespace berth::testing {
namespace {

Result<std::unique_ptr<Snapshotter>> open_native(SnapshotterOptions options) {
  auto native = std::make_unique<native::Native>(std::move(options));
  BERTH_RETURN_IF_ERROR(native->open());
  return std::unique_ptr<Snapshotter>(std::move(native));
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(Native, SnapshotterSuite,
                         ::testing::Values(SnapshotterUnderTest{
                             .open = open_native, .folders = {"snapshots", "links"}}));

}  // namespace berth::testing
