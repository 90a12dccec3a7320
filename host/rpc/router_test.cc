#include "rpc/router.h"

#include <gtest/gtest.h>

namespace berth::rpc {
namespace {

constexpr char kPath[] = "containerd.services.events.ttrpc.v1.Events/Forward";

// Found with Docker Engine: an exit that a shim told to a daemon that was just starting was lost.
TEST(Router, WhatMayStillComeIsUnavailableAndNotUnknown) {
  Router router;
  EXPECT_EQ(router.find(kPath).status().code(), Code::kUnavailable);
  router.complete();
  EXPECT_EQ(router.find(kPath).status().code(), Code::kUnimplemented);
}

TEST(Router, SaysWhyAServiceIsNotThere) {
  Router router;
  router.explain_absence("containerd.services.events.ttrpc.v1.Events", "plugin x has failed");
  router.complete();
  const Status status = router.find(kPath).status();
  EXPECT_EQ(status.code(), Code::kUnimplemented);
  EXPECT_NE(status.message().find("plugin x has failed"), std::string::npos) << status.message();
}

}  // namespace
}  // namespace berth::rpc
