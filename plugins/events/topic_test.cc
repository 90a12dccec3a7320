#include "topic.h"

#include <gtest/gtest.h>

namespace berth::events {
namespace {

TEST(Topic, Accepts) {
  for (const char* topic : {"/tasks/exit", "/a", "/containers/create", "/a.b/c-d_e/0", "/moby/2"}) {
    EXPECT_TRUE(validate_topic(topic).ok()) << topic;
  }
  EXPECT_TRUE(validate_topic("/" + std::string(76, 'a')).ok());
}

TEST(Topic, Refuses) {
  for (const char* topic : {"", "/", "tasks", "tasks/exit", "/tasks/", "//tasks", "/tasks//exit",
                            "/-a", "/a-", "/a..b", "/a b", "/tasks/*", "/a/.", "/é"}) {
    EXPECT_EQ(validate_topic(topic).code(), Code::kInvalidArgument) << topic;
  }
  EXPECT_EQ(validate_topic("/" + std::string(77, 'a')).code(), Code::kInvalidArgument);
}

TEST(Identifier, NamesTheOffender) {
  EXPECT_NE(validate_identifier("a b").message().find("\"a b\""), std::string::npos);
  EXPECT_LT(validate_identifier(std::string(100000, 'a')).message().size(), 300U);
}

}  // namespace
}  // namespace berth::events
