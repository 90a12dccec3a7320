#include "exchange.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <thread>

#include "containerd/events/task.pb.h"

namespace berth::events {
namespace {

using containerd::types::Envelope;

// A subscriber with as much room as the test gives it.
class Subscriber {
 public:
  explicit Subscriber(size_t room = SIZE_MAX) : room_(room) {}

  std::unique_ptr<Sink> sink() { return std::make_unique<End>(*this); }

  std::vector<std::string> topics() {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> topics;
    for (const Envelope& envelope : received_) topics.push_back(envelope.topic());
    return topics;
  }
  std::vector<Envelope> received() {
    const std::lock_guard lock(mutex_);
    return received_;
  }
  std::optional<Status> status() {
    const std::lock_guard lock(mutex_);
    return status_;
  }
  void give_room(size_t room) {
    std::function<void()> run;
    {
      const std::lock_guard lock(mutex_);
      room_ = room;
      run = std::exchange(on_writable_, nullptr);
    }
    if (run) run();
  }
  void leave() {
    std::function<void()> run;
    {
      const std::lock_guard lock(mutex_);
      gone_ = true;
      run = std::exchange(on_gone_, nullptr);
    }
    if (run) run();
  }
  int overlaps() const { return overlaps_; }

 private:
  class End final : public Sink {
   public:
    explicit End(Subscriber& subscriber) : subscriber_(subscriber) {}
    Outcome send(const std::string& event) override {
      if (subscriber_.inside_.exchange(true)) ++subscriber_.overlaps_;
      const Outcome outcome = subscriber_.take(event);
      subscriber_.inside_ = false;
      return outcome;
    }
    void when_writable(std::function<void()> run) override {
      {
        const std::lock_guard lock(subscriber_.mutex_);
        if (subscriber_.room_ == 0) {
          subscriber_.on_writable_ = std::move(run);
          return;
        }
      }
      run();
    }
    void when_gone(std::function<void()> run) override {
      {
        const std::lock_guard lock(subscriber_.mutex_);
        if (!subscriber_.gone_) {
          subscriber_.on_gone_ = std::move(run);
          return;
        }
      }
      run();
    }
    void finish(const Status& status) override {
      std::function<void()> dropped[2];
      const std::lock_guard lock(subscriber_.mutex_);
      EXPECT_FALSE(subscriber_.status_) << "finished twice";
      subscriber_.status_ = status;
      dropped[0] = std::exchange(subscriber_.on_writable_, nullptr);
      dropped[1] = std::exchange(subscriber_.on_gone_, nullptr);
    }

   private:
    Subscriber& subscriber_;
  };

  Sink::Outcome take(const std::string& event) {
    const std::lock_guard lock(mutex_);
    EXPECT_FALSE(status_) << "sent after finish";
    if (gone_) return Sink::Outcome::kGone;
    if (room_ == 0) return Sink::Outcome::kFull;
    --room_;
    Envelope envelope;
    EXPECT_TRUE(envelope.ParseFromString(event));
    received_.push_back(envelope);
    return Sink::Outcome::kSent;
  }

  std::mutex mutex_;
  size_t room_;
  bool gone_ = false;
  std::vector<Envelope> received_;
  std::function<void()> on_writable_;
  std::function<void()> on_gone_;
  std::optional<Status> status_;
  std::atomic<bool> inside_ = false;
  std::atomic<int> overlaps_ = 0;
};

constexpr size_t kLimit = 64 << 10;

FilterSet filters(std::vector<std::string> texts) {
  auto set = FilterSet::parse(texts);
  EXPECT_TRUE(set.ok());
  return *set;
}

google::protobuf::Any start_of(const std::string& container) {
  containerd::events::TaskStart event;
  event.set_container_id(container);
  google::protobuf::Any any;
  any.set_type_url("containerd.events.TaskStart");
  any.set_value(event.SerializeAsString());
  return any;
}

TEST(Exchange, EverySubscriberGetsWhatItsFiltersMatch) {
  Exchange exchange(kLimit);
  Subscriber all, tasks, web, other;
  exchange.subscribe({}, all.sink());
  exchange.subscribe(filters({"topic~=^/tasks/,namespace==default", "topic==\"/x\""}),
                     tasks.sink());
  exchange.subscribe(filters({"event.container_id==web"}), web.sink());
  exchange.subscribe(filters({"namespace==other"}), other.sink());
  ASSERT_TRUE(exchange.publish("default", "/tasks/start", start_of("web")).ok());
  ASSERT_TRUE(exchange.publish("default", "/images/create", {}).ok());
  ASSERT_TRUE(exchange.publish("other", "/tasks/start", start_of("db")).ok());
  ASSERT_TRUE(exchange.publish("third", "/x", {}).ok());
  EXPECT_EQ(all.topics(),
            (std::vector<std::string>{"/tasks/start", "/images/create", "/tasks/start", "/x"}));
  EXPECT_EQ(tasks.topics(), (std::vector<std::string>{"/tasks/start", "/x"}));
  EXPECT_EQ(web.topics(), (std::vector<std::string>{"/tasks/start"}));
  EXPECT_EQ(other.topics(), (std::vector<std::string>{"/tasks/start"}));
}

TEST(Exchange, PublishStampsTheEnvelope) {
  Exchange exchange(kLimit);
  Subscriber subscriber;
  exchange.subscribe({}, subscriber.sink());
  ASSERT_TRUE(exchange.publish("default", "/tasks/start", start_of("web")).ok());
  const Envelope envelope = subscriber.received().at(0);
  EXPECT_EQ(envelope.namespace_(), "default");
  EXPECT_EQ(envelope.event().type_url(), "containerd.events.TaskStart");
  EXPECT_EQ(envelope.event().value(), start_of("web").value());
  EXPECT_NEAR(static_cast<double>(envelope.timestamp().seconds()),
              static_cast<double>(::time(nullptr)), 5);
}

TEST(Exchange, RefusesBrokenEnvelopes) {
  Exchange exchange(kLimit);
  Subscriber subscriber;
  exchange.subscribe({}, subscriber.sink());
  EXPECT_EQ(exchange.publish("", "/a", {}).code(), Code::kInvalidArgument);
  EXPECT_EQ(exchange.publish("a/b", "/a", {}).code(), Code::kInvalidArgument);
  EXPECT_EQ(exchange.publish("default", "a", {}).code(), Code::kInvalidArgument);
  Envelope envelope;
  envelope.set_namespace_("default");
  envelope.set_topic("/a");
  EXPECT_EQ(exchange.forward(envelope).code(), Code::kInvalidArgument);  // no time
  envelope.mutable_timestamp()->set_seconds(-62135596800);               // Go's zero time
  EXPECT_EQ(exchange.forward(envelope).code(), Code::kInvalidArgument);
  EXPECT_TRUE(subscriber.topics().empty());
  envelope.mutable_timestamp()->set_seconds(1700000000);
  EXPECT_TRUE(exchange.forward(envelope).ok());
  EXPECT_EQ(subscriber.received().at(0).timestamp().seconds(), 1700000000);
}

TEST(Exchange, WhatDoesNotFitWaitsInOrder) {
  Exchange exchange(kLimit);
  Subscriber slow(1), quick;
  exchange.subscribe({}, slow.sink());
  exchange.subscribe({}, quick.sink());
  std::vector<std::string> expected;
  for (int i = 0; i < 50; ++i) {
    expected.push_back("/n/" + std::to_string(i));
    ASSERT_TRUE(exchange.publish("default", expected.back(), {}).ok());
  }
  EXPECT_EQ(slow.topics().size(), 1U);
  EXPECT_EQ(quick.topics(), expected);
  slow.give_room(10);
  EXPECT_EQ(slow.topics().size(), 11U);
  slow.give_room(SIZE_MAX);
  EXPECT_EQ(slow.topics(), expected);
  ASSERT_TRUE(exchange.publish("default", "/later", {}).ok());
  EXPECT_EQ(slow.topics().back(), "/later");
  EXPECT_FALSE(slow.status());
}

TEST(Exchange, TheSlowOneIsDroppedAndOthersAreNot) {
  Exchange exchange(kLimit);
  Subscriber stuck(0), quick;
  exchange.subscribe({}, stuck.sink());
  exchange.subscribe({}, quick.sink());
  for (int i = 0; i < 1000; ++i)
    ASSERT_TRUE(exchange.publish("default", "/n", start_of("web")).ok());
  ASSERT_TRUE(stuck.status());
  EXPECT_EQ(stuck.status()->code(), Code::kResourceExhausted);
  EXPECT_NE(stuck.status()->message().find("too slow"), std::string::npos);
  EXPECT_EQ(quick.topics().size(), 1000U);
  EXPECT_EQ(exchange.subscriber_count(), 1U);
}

TEST(Exchange, OneEventMayBeLargerThanTheLimit) {
  Exchange exchange(1024);
  Subscriber subscriber(0);
  exchange.subscribe({}, subscriber.sink());
  google::protobuf::Any large;
  large.set_value(std::string(100'000, 'x'));
  ASSERT_TRUE(exchange.publish("default", "/large", large).ok());
  EXPECT_FALSE(subscriber.status());
  subscriber.give_room(1);
  EXPECT_EQ(subscriber.topics().size(), 1U);
}

TEST(Exchange, WhoLeavesIsForgotten) {
  Exchange exchange(kLimit);
  Subscriber idle, parked(0), early;
  exchange.subscribe({}, idle.sink());
  exchange.subscribe({}, parked.sink());
  early.leave();
  exchange.subscribe({}, early.sink());  // gone before it began
  EXPECT_EQ(early.status()->code(), Code::kCancelled);
  EXPECT_EQ(exchange.subscriber_count(), 2U);
  ASSERT_TRUE(exchange.publish("default", "/n", {}).ok());
  idle.leave();
  parked.leave();
  EXPECT_EQ(idle.status()->code(), Code::kCancelled);
  EXPECT_EQ(parked.status()->code(), Code::kCancelled);
  EXPECT_EQ(exchange.subscriber_count(), 0U);
  ASSERT_TRUE(exchange.publish("default", "/n", {}).ok());
  EXPECT_EQ(idle.topics().size(), 1U);
}

// Docker Engine, which is away for seconds after its daemon was, and believes events alone.
TEST(Exchange, WhoComesBackAfterARestartIsToldOfEndsBeforeWhatIsNew) {
  containerd::events::TaskExit event;
  event.set_container_id("old");
  event.set_id("old");
  google::protobuf::Any exit;
  exit.set_type_url("containerd.events.TaskExit");
  exit.set_value(event.SerializeAsString());
  Exchange exchange(kLimit, std::chrono::hours(1));
  Subscriber early, late, other, full(0);
  exchange.subscribe({}, early.sink());
  ASSERT_TRUE(exchange.publish("moby", "/tasks/exit", exit).ok());
  ASSERT_TRUE(exchange.publish("moby", "/tasks/start", start_of("new")).ok());
  exchange.subscribe(filters({"namespace==moby"}), late.sink());
  exchange.subscribe(filters({"namespace==other"}), other.sink());
  exchange.subscribe({}, full.sink());
  ASSERT_TRUE(exchange.publish("moby", "/images/create", {}).ok());
  full.give_room(SIZE_MAX);
  EXPECT_EQ(early.topics(),
            (std::vector<std::string>{"/tasks/exit", "/tasks/start", "/images/create"}));
  EXPECT_EQ(late.topics(), (std::vector<std::string>{"/tasks/exit", "/images/create"}));
  EXPECT_EQ(full.topics(), (std::vector<std::string>{"/tasks/exit", "/images/create"}));
  EXPECT_TRUE(other.topics().empty());

  Exchange without(kLimit);
  ASSERT_TRUE(without.publish("moby", "/tasks/exit", exit).ok());
  Subscriber none;
  without.subscribe({}, none.sink());
  EXPECT_TRUE(none.topics().empty());
}

TEST(Exchange, ASubscriberMayPublishWhileItReceives) {
  class Echo final : public Sink {
   public:
    Echo(Exchange& exchange, std::vector<std::string>& seen) : exchange_(exchange), seen_(seen) {}
    Outcome send(const std::string& event) override {
      Envelope envelope;
      EXPECT_TRUE(envelope.ParseFromString(event));
      seen_.push_back(envelope.topic());
      if (envelope.topic() == "/first") {
        EXPECT_TRUE(exchange_.publish("default", "/second", {}).ok());
      }
      return Outcome::kSent;
    }
    void when_writable(std::function<void()> run) override { run(); }
    void when_gone(std::function<void()>) override {}
    void finish(const Status&) override {}

   private:
    Exchange& exchange_;
    std::vector<std::string>& seen_;
  };
  Exchange exchange(kLimit);
  std::vector<std::string> seen;
  exchange.subscribe({}, std::make_unique<Echo>(exchange, seen));
  ASSERT_TRUE(exchange.publish("default", "/first", {}).ok());
  EXPECT_EQ(seen, (std::vector<std::string>{"/first", "/second"}));
}

// Publishers, a subscriber whose room comes and goes, and subscribers that come and go.
TEST(Exchange, ManyThreadsKeepTheOrderOfEachPublisher) {
  constexpr int kPublishers = 4;
  constexpr int kEvents = 2000;
  Exchange exchange(SIZE_MAX / 2, std::chrono::milliseconds(5));  // ends while they are at it
  Subscriber steady, jumpy(0);
  exchange.subscribe({}, steady.sink());
  exchange.subscribe({}, jumpy.sink());
  std::atomic<bool> done = false;
  std::thread room([&] {
    while (!done) jumpy.give_room(7);
    jumpy.give_room(SIZE_MAX);
  });
  std::thread guests([&] {
    while (!done) {
      Subscriber guest(3);
      exchange.subscribe({}, guest.sink());
      guest.leave();
      while (!guest.status()) std::this_thread::yield();
    }
  });
  std::vector<std::thread> publishers;
  for (int p = 0; p < kPublishers; ++p) {
    publishers.emplace_back([&, p] {
      for (int i = 0; i < kEvents; ++i) {
        EXPECT_TRUE(exchange.publish("n" + std::to_string(p), "/e/" + std::to_string(i), {}).ok());
      }
    });
  }
  for (std::thread& publisher : publishers) publisher.join();
  done = true;
  guests.join();
  room.join();
  for (Subscriber* subscriber : {&steady, &jumpy}) {
    std::map<std::string, int> next;
    for (const Envelope& envelope : subscriber->received()) {
      EXPECT_EQ(envelope.topic(), "/e/" + std::to_string(next[envelope.namespace_()]++));
    }
    EXPECT_EQ(next.size(), static_cast<size_t>(kPublishers));
    for (const auto& [ns, count] : next) EXPECT_EQ(count, kEvents) << ns;
    EXPECT_EQ(subscriber->overlaps(), 0);
  }
  EXPECT_EQ(exchange.subscriber_count(), 2U);
}

}  // namespace
}  // namespace berth::events
