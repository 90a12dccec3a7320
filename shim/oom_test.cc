// Files in the place of a cgroup's: what the kernel counts is in tests/vm.
#include "oom.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <thread>

namespace berth::shim {
namespace {

class OomTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/berth-oom-XXXXXX";
    slice_ = ::mkdtemp(name);
    std::filesystem::create_directory(scope());
    count(slice_, 5);
    count(scope(), 0);
    auto started = ttrpc::Loop::start();
    ASSERT_TRUE(started.ok());
    loop_ = *std::move(started);
    on_loop([this] {
      watcher_ = OomWatcher::watch(loop_, Cgroup{.unified = scope(), .controllers = {}},
                                   [this] { ++told_; });
    });
    ASSERT_NE(watcher_, nullptr);
  }
  void TearDown() override {
    if (loop_ == nullptr) return;
    on_loop([this] { watcher_.reset(); });
    loop_.reset();
    std::filesystem::remove_all(slice_);
  }

  std::string scope() const { return slice_ + "/c.scope"; }
  static void count(const std::string& folder, int kills) {
    const std::string text =
        "low 0\nhigh 0\nmax 9\noom 1\noom_kill " + std::to_string(kills) + "\noom_group_kill 0\n";
    // One write over what was there, so that a reader sees all of it, as with the kernel's.
    const UniqueFd file(
        ::open((folder + "/memory.events").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    ASSERT_EQ(::write(file.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  void on_loop(std::function<void()> work) {
    std::promise<void> done;
    loop_->post([&] {
      work();
      done.set_value();
    });
    done.get_future().wait();
  }
  void end(bool failed) {
    on_loop([&] { watcher_->check_end(failed); });
  }
  bool eventually_told(int times) {
    for (int i = 0; i < 1000 && told_ < times; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return told_ == times;
  }
  /// Until the watcher has seen what was written before.
  void settle() {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    on_loop([] {});
  }
  void remove_scope() const { std::filesystem::remove_all(scope()); }

  std::string slice_;
  std::shared_ptr<ttrpc::Loop> loop_;
  std::shared_ptr<OomWatcher> watcher_;
  std::atomic<int> told_ = 0;
};

TEST_F(OomTest, AKillIsToldWhenItIsCountedAndOnce) {
  count(scope(), 1);
  count(slice_, 6);
  EXPECT_TRUE(eventually_told(1));
  end(true);
  EXPECT_EQ(told_, 1);
  remove_scope();
  end(true);
  EXPECT_EQ(told_, 1);
}

TEST_F(OomTest, AKillWhoseCgroupIsGoneIsFoundAbove) {
  remove_scope();
  count(slice_, 6);
  settle();
  end(true);
  EXPECT_EQ(told_, 1);
  end(true);
  EXPECT_EQ(told_, 1);
}

TEST_F(OomTest, AKillInAnotherCgroupIsNotTold) {
  count(slice_, 6);
  settle();
  remove_scope();
  end(true);
  EXPECT_EQ(told_, 0) << "its own was there and said nothing";
}

TEST_F(OomTest, WhatEndedWellWasNotKilled) {
  remove_scope();
  count(slice_, 6);
  end(false);
  EXPECT_EQ(told_, 0);
}

}  // namespace
}  // namespace berth::shim
