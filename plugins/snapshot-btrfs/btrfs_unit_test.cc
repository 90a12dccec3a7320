#include <gtest/gtest.h>

#include "btrfs.h"

namespace berth::btrfs {
namespace {

constexpr std::string_view kMounts =
    "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
    "30 22 0:25 / /var/lib rw,relatime shared:2 master:1 - btrfs /dev/sda rw,subvolid=5\n"
    "31 30 0:26 / /var/lib/with\\040space rw - btrfs /dev/mapper/a\\040b rw\n"
    "32 30 0:27 / /var/lib/twice rw - ext4 /dev/old rw\n"
    "33 32 0:28 / /var/lib/twice rw - btrfs /dev/new rw\n"
    "a broken line\n";

TEST(DeviceOf, IsThatOfTheNearestMount) {
  EXPECT_EQ(*device_of("/var/lib/berth", kMounts), "/dev/sda");
  EXPECT_EQ(*device_of("/var/lib", kMounts), "/dev/sda");
  EXPECT_EQ(*device_of("/var/library", kMounts), "/dev/vda");
  EXPECT_EQ(*device_of("/srv", kMounts), "/dev/vda");
  EXPECT_EQ(*device_of("/var/lib/with space/x", kMounts), "/dev/mapper/a b");
  EXPECT_EQ(*device_of("/var/lib/twice/x", kMounts), "/dev/new");
  EXPECT_EQ(device_of("/srv", "").status().code(), Code::kNotFound);
}

TEST(CheckSupport, NamesWhatIsNotBtrfs) {
  const Status refused = check_support("/proc");
  EXPECT_EQ(refused.code(), Code::kFailedPrecondition);
  EXPECT_NE(refused.message().find("/proc is not on btrfs"), std::string::npos);
  EXPECT_EQ(check_support("/no/such/directory").code(), Code::kNotFound);
}

}  // namespace
}  // namespace berth::btrfs
