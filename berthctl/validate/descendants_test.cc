#include "validate/descendants.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <thread>

namespace berth::ctl::validate {
namespace {

using namespace std::chrono_literals;

[[noreturn]] void sleep_for_ever() {
  while (true) ::pause();
}

pid_t child() {
  const pid_t pid = ::fork();
  if (pid == 0) sleep_for_ever();
  return pid;
}

/// A grandchild in a session of its own, whose parent has ended; told by a pipe.
pid_t orphan() {
  int ends[2];
  EXPECT_EQ(::pipe(ends), 0);
  const pid_t parent = ::fork();
  if (parent == 0) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::setsid();
      ::signal(SIGTERM, SIG_IGN);
      sleep_for_ever();
    }
    (void)!::write(ends[1], &pid, sizeof pid);
    ::_exit(0);
  }
  pid_t pid = 0;
  EXPECT_EQ(::read(ends[0], &pid, sizeof pid), static_cast<ssize_t>(sizeof pid));
  ::close(ends[0]);
  ::close(ends[1]);
  return pid;
}

TEST(Descendants, OrphansEndAndOthersStay) {
  adopt_orphans();
  const pid_t other = child();
  const auto others = children();
  EXPECT_TRUE(others.contains(other));
  const pid_t mine = child();
  const pid_t lost = orphan();
  EXPECT_FALSE(is_gone(lost));
  EXPECT_TRUE(end_children(others, 10s));
  EXPECT_TRUE(is_gone(mine));
  EXPECT_TRUE(is_gone(lost));
  EXPECT_FALSE(is_gone(other));
  EXPECT_TRUE(end_children({}, 10s));
  EXPECT_TRUE(is_gone(other));
  EXPECT_TRUE(children().empty());
}

TEST(Descendants, WhatHasEndedIsGone) {
  const pid_t pid = child();
  EXPECT_FALSE(is_gone(pid));
  ::kill(pid, SIGKILL);
  for (int i = 0; i < 1000 && !is_gone(pid); ++i) std::this_thread::sleep_for(1ms);
  EXPECT_TRUE(is_gone(pid));
}

}  // namespace
}  // namespace berth::ctl::validate
