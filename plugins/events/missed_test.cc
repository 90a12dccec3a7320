#include "missed.h"

#include <gtest/gtest.h>

#include "containerd/events/task.pb.h"

namespace berth::events {
namespace {

using containerd::types::Envelope;
using namespace std::chrono_literals;

constexpr int64_t kFuture = 10'000'000'000;  // seconds: after the birth of any Missed
constexpr int64_t kPast = 1'000'000'000;

template <typename Event>
Envelope envelope(const std::string& topic, const Event& event, int64_t seconds = kFuture) {
  Envelope envelope;
  envelope.set_namespace_("moby");
  envelope.set_topic(topic);
  envelope.mutable_timestamp()->set_seconds(seconds);
  envelope.mutable_event()->set_value(event.SerializeAsString());
  return envelope;
}

Envelope start_of(const std::string& container, int64_t seconds = kFuture) {
  containerd::events::TaskStart event;
  event.set_container_id(container);
  return envelope("/tasks/start", event, seconds);
}

Envelope exec_start_of(const std::string& container, const std::string& id) {
  containerd::events::TaskExecStarted event;
  event.set_container_id(container);
  event.set_exec_id(id);
  return envelope("/tasks/exec-started", event);
}

Envelope exit_of(const std::string& container, const std::string& id) {
  containerd::events::TaskExit event;
  event.set_container_id(container);
  event.set_id(id);
  return envelope("/tasks/exit", event);
}

Envelope oom_of(const std::string& container) {
  containerd::events::TaskOOM event;
  event.set_container_id(container);
  return envelope("/tasks/oom", event);
}

std::vector<std::string> topics(Missed& missed) {
  std::vector<std::string> topics;
  for (const Envelope& envelope : missed.kept()) topics.push_back(envelope.topic());
  return topics;
}

TEST(Missed, KeepsEndsOfProcessesOfAnEarlierLifeInOrder) {
  Missed missed(1h);
  EXPECT_TRUE(missed.note(exit_of("old", "exec")));
  EXPECT_TRUE(missed.note(oom_of("old")));
  EXPECT_TRUE(missed.note(exit_of("old", "old")));
  EXPECT_EQ(topics(missed), (std::vector<std::string>{"/tasks/exit", "/tasks/oom", "/tasks/exit"}));
}

TEST(Missed, WhatThisLifeStartedIsNotMissed) {
  Missed missed(1h);
  missed.note(start_of("new"));
  missed.note(oom_of("new"));
  missed.note(exit_of("new", "new"));
  missed.note(exec_start_of("old", "exec"));
  missed.note(exit_of("old", "exec"));
  EXPECT_TRUE(topics(missed).empty());
  // The same names elsewhere are others.
  missed.note(exit_of("old", "old"));
  Envelope elsewhere = exit_of("new", "new");
  elsewhere.set_namespace_("default");
  missed.note(elsewhere);
  EXPECT_EQ(topics(missed).size(), 2U);
}

TEST(Missed, AStartToldLateIsOfAnEarlierLife) {
  Missed missed(1h);
  missed.note(start_of("old", kPast));
  missed.note(exit_of("old", "old"));
  EXPECT_EQ(topics(missed).size(), 1U);
}

TEST(Missed, OtherEventsAreNotKept) {
  Missed missed(1h);
  for (const char* topic : {"/tasks/create", "/tasks/delete", "/tasks/paused", "/images/create"})
    missed.note(envelope(topic, containerd::events::TaskOOM()));
  EXPECT_TRUE(topics(missed).empty());
}

TEST(Missed, EndsAndIsBounded) {
  Missed missed(1h);
  for (int i = 0; i < 5000; ++i) missed.note(exit_of("old", std::to_string(i)));
  ASSERT_EQ(missed.kept().size(), 4096U);
  EXPECT_EQ(missed.kept().back().event().value(), exit_of("old", "4999").event().value());
  const auto later = Missed::Clock::now() + 2h;
  EXPECT_TRUE(missed.kept(later).empty());
  EXPECT_FALSE(missed.note(exit_of("old", "old"), later));
  EXPECT_TRUE(missed.kept().empty());
}

TEST(Missed, NoTimeIsNever) {
  Missed missed(0s);
  EXPECT_FALSE(missed.note(exit_of("old", "old")));
}

}  // namespace
}  // namespace berth::events
