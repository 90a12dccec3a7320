#include "config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace berth::config {
namespace {

TEST(ConfigTest, WithoutAFileTheDefaultsHold) {
  const auto config = Config::load("", {});
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->values().root, "/var/lib/berth");
  EXPECT_EQ(config->values().ttrpc.address, "/run/berth/berth.sock.ttrpc");
  EXPECT_TRUE(config->diagnostics().empty());
}

}  // namespace
}  // namespace berth::config
