// A plugin that is ill on demand, in a process of its own: what its callers see, and that it comes
// back.
#include "process/process_plugin.h"

#include <berth/client.h>
#include <berth/server.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <future>

#include "bus/host_table.h"
#include "daemon_process.h"
#include "ops/logging.h"

namespace berth::process {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Outcome = abi::Placed::Outcome;

constexpr int64_t kSecond = 1'000'000'000;

/// What the plugin requires: a target in this process.
bus::Target& peer() {
  static const berth_method methods[] = {{str("Echo"), 0, 0}};
  static const berth_service service = {
      sizeof(berth_service), 1, str("berth.test.v1.Peer"), methods, {}};
  static auto* target = [] {
    bus::host_table();
    auto* made = new bus::Target({"berth.test.v1.peer", "berth.test.v1", "peer", ""});
    made->add_service(service);
    made->serve(
        [](void*, uint32_t, uint32_t, berth_call* raw) {
          ServerCall call(raw);
          call.finish(Message::copy_of("peer heard " + std::string(call.request_bytes())));
        },
        nullptr);
    made->ready();
    return made;
  }();
  return *target;
}

class ProcessPluginTest : public ::testing::Test {
 protected:
  ProcessPluginTest() : folder_("placement") {
    host_ = new abi::HostFacts{folder_.path() + "/root", folder_.path() + "/state", "/address",
                               "/ttrpc", "1.2.3"};
    options_.program = PLUGIN_RUN;
    options_.file = SICK_PLUGIN;
    options_.log = {"info", "text"};
    options_.hang_timeout = milliseconds(600);
    options_.start_timeout = std::chrono::seconds(20);
    options_.first_delay = milliseconds(20);
    options_.max_delay = milliseconds(200);
  }
  ~ProcessPluginTest() override {
    if (started_) plugin_->stop(monotonic_now() + 5 * kSecond);
  }

  void make(const std::string& fails = {}) {
    abi::InstanceSettings settings;
    settings.type = "berth.test.v1";
    settings.id = "sick";
    settings.capabilities = "one,two";
    settings.config_json = "{\"fails\":\"" + fails + "\",\"number\":17}";
    settings.bindings["peer"] = {&peer()};
    static auto* all = new std::vector<ProcessPlugin*>;  // for ever, and reachable
    plugin_ = all->emplace_back(new ProcessPlugin(options_, std::move(settings), *host_));
  }
  abi::Placed::Step step_through() {
    for (const auto& step : {&abi::Placed::probe, &abi::Placed::init, &abi::Placed::start}) {
      const abi::Placed::Step result = (plugin_->*step)();
      if (result.outcome != Outcome::kOk) return result;
      if (step == &abi::Placed::init) plugin_->ready();
    }
    started_ = true;
    return {};
  }
  void start(const std::string& fails = {}) {
    make(fails);
    const auto step = step_through();
    ASSERT_EQ(step.outcome, Outcome::kOk) << step.status.to_string();
  }

  struct Answer {
    Status status;
    std::string bytes;
    int64_t took = 0;
  };
  Answer call(const std::string& method, const std::string& request = {},
              milliseconds timeout = std::chrono::seconds(20)) {
    const berth::Target target(bus::handle_of(&plugin_->target()));
    const Context context = Context().with_timeout(timeout);
    const CallOptions options(context);
    const Message message = Message::copy_of(request);
    const int64_t began = monotonic_now();
    ClientCall one(detail::host->unary(target.raw(), target.resolve("berth.test.v1.Sick/" + method),
                                       options.raw(), &message.raw()));
    Message reply;
    Answer answer;
    if (one.recv(&reply, 0) == BERTH_OK) answer.bytes = std::string(reply.bytes());
    answer.status = one.finish();
    answer.took = monotonic_now() - began;
    return answer;
  }
  static bool eventually(const std::function<bool()>& holds) {
    for (const int64_t end = monotonic_now() + 20 * kSecond; monotonic_now() < end;) {
      if (holds()) return true;
      std::this_thread::sleep_for(milliseconds(5));
    }
    return false;
  }
  /// Until it serves again; true when it does.
  bool back(uint64_t restarts) {
    for (const int64_t end = monotonic_now() + 20 * kSecond; monotonic_now() < end;) {
      if (plugin_->facts().restarts >= restarts && plugin_->target().is_ready() &&
          call("Pid").status.ok()) {
        return true;
      }
      std::this_thread::sleep_for(milliseconds(5));
    }
    return false;
  }
  void expect_lost(const Answer& answer, const std::string& how) {
    EXPECT_EQ(answer.status.code(), Code::kUnavailable) << answer.status.to_string();
    EXPECT_THAT(answer.status.message(), AllOf(HasSubstr("at berth.test.v1.sick"), HasSubstr(how),
                                               HasSubstr("berthd starts it again")));
    EXPECT_TRUE(back(1));
    EXPECT_EQ(plugin_->facts().restarts, 1U);
    EXPECT_THAT(plugin_->facts().last_end, HasSubstr(how));
  }

  testing::TemporaryFolder folder_;
  const abi::HostFacts* host_;
  ProcessOptions options_;
  ProcessPlugin* plugin_ = nullptr;
  bool started_ = false;
};

TEST_F(ProcessPluginTest, ServesWithItsConfigurationItsFoldersAndItsPeers) {
  start();
  EXPECT_NE(call("Pid").bytes, std::to_string(::getpid()));
  EXPECT_EQ(call("Pid").bytes, std::to_string(plugin_->facts().pid));
  EXPECT_EQ(call("Property", "uri").bytes, "berth.test.v1.sick");
  EXPECT_EQ(call("Property", "version").bytes, "1.2.3");
  const std::string root = folder_.path() + "/root/berth.test.v1.sick";
  EXPECT_EQ(call("Property", "root").bytes, root);
  EXPECT_TRUE(std::filesystem::is_directory(root));
  EXPECT_EQ(call("Config", "number").bytes, "17");
  EXPECT_EQ(call("AskPeer", "hello").bytes, "peer heard hello");
  EXPECT_EQ(plugin_->target().identity().capabilities, "one,two");
  const ProcessFacts facts = plugin_->facts();
  EXPECT_GT(facts.usage.resident_bytes, 1U << 20);
  EXPECT_EQ(facts.restarts, 0U);
}

TEST_F(ProcessPluginTest, OutcomesOfStepsComeBackAsInProcess) {
  struct Case {
    std::string fails;
    Outcome outcome;
    Code code;
    std::string message;
  };
  options_.first_delay = options_.max_delay = std::chrono::seconds(30);
  for (const Case& one : std::vector<Case>{
           {"probe:skip", Outcome::kSkip, Code::kFailedPrecondition, "this machine lacks it"},
           {"probe:fail", Outcome::kFailed, Code::kInternal, "the probe went wrong"},
           {"probe:crash", Outcome::kFailed, Code::kUnavailable, "ended by SIGILL in its probe"},
           {"init:skip", Outcome::kFailed, Code::kFailedPrecondition, "this machine lacks it"},
           {"init:exit", Outcome::kFailed, Code::kUnavailable, "exit code 3 in its init"},
           {"start:fail", Outcome::kFailed, Code::kInternal, "the start went wrong"}}) {
    make(one.fails);
    const auto step = step_through();
    EXPECT_EQ(step.outcome, one.outcome) << one.fails;
    EXPECT_EQ(step.status.code(), one.code) << one.fails << step.status.to_string();
    EXPECT_THAT(step.status.message(), HasSubstr(one.message));
    EXPECT_EQ(plugin_->facts().pid, 0) << "a process is left";
    // What says that it does not belong here is believed.
    EXPECT_EQ(plugin_->goes_on(), one.outcome == Outcome::kFailed) << one.fails;
    if (plugin_->goes_on()) plugin_->stop(monotonic_now() + 5 * kSecond);
  }
}

TEST_F(ProcessPluginTest, AStepThatHangsIsGivenUp) {
  options_.start_timeout = milliseconds(500);
  make("init:hang");
  const auto step = step_through();
  EXPECT_EQ(step.outcome, Outcome::kFailed);
  EXPECT_THAT(step.status.message(), HasSubstr("did not end its init"));
  started_ = plugin_->goes_on();
}

TEST_F(ProcessPluginTest, AFirstStartThatFailsIsTriedAgain) {
  options_.first_delay = milliseconds(500);
  make("init:once");
  const auto step = step_through();
  EXPECT_EQ(step.outcome, Outcome::kFailed);
  EXPECT_THAT(step.status.message(), HasSubstr("the init went wrong"));
  ASSERT_TRUE(plugin_->goes_on());
  started_ = true;
  const Answer refused = call("Pid");
  EXPECT_EQ(refused.status.code(), Code::kUnavailable);
  EXPECT_THAT(refused.status.message(),
              AllOf(HasSubstr("its first start failed in its init: the init went wrong"),
                    HasSubstr("berthd starts it again")));
  EXPECT_TRUE(back(1));
  EXPECT_EQ(plugin_->facts().restarts, 1U);
}

TEST_F(ProcessPluginTest, WhatCannotBeLoadedIsNotTriedAgain) {
  options_.file = "/no/such.so";
  make();
  EXPECT_EQ(step_through().outcome, Outcome::kFailed);
  EXPECT_FALSE(plugin_->goes_on());
}

TEST_F(ProcessPluginTest, TheLogLevelReachesItAndItsSuccessors) {
  std::mutex mutex;
  std::string lines;
  ASSERT_TRUE(ops::configure_log("trace", "text").ok());
  ops::send_log_to([&](uint32_t, std::string_view text) {
    const std::lock_guard lock(mutex);
    lines.append(text).append("\n");
  });
  // The lines come before the answer.
  const auto logged = [&] {
    EXPECT_TRUE(call("Log").status.ok());
    const std::lock_guard lock(mutex);
    return std::exchange(lines, {});
  };
  const std::string debugging = "a line for debugging", everybody = "a line for everybody";
  start();
  EXPECT_THAT(logged(), AllOf(HasSubstr(everybody), Not(HasSubstr(debugging))));
  plugin_->set_log({"debug", "text"});
  EXPECT_TRUE(eventually([&] { return logged().find(debugging) != std::string::npos; }));
  (void)call("Crash");
  ASSERT_TRUE(back(1));
  EXPECT_THAT(logged(), HasSubstr(debugging));
  plugin_->set_log({"error", "text"});
  EXPECT_TRUE(eventually([&] { return logged().find(everybody) == std::string::npos; }));
  ops::send_log_to([](uint32_t, std::string_view) {});
}

TEST_F(ProcessPluginTest, ACrashCostsItsCallsAndIsNamed) {
  start();
  // Another call is in flight, too.
  auto stream = std::async(std::launch::async, [&] {
    ClientCall one =
        ClientCall::open(berth::Target(bus::handle_of(&plugin_->target())), 11, Context());
    (void)one.send(Message::copy_of(""));
    return one.finish();
  });
  std::this_thread::sleep_for(milliseconds(100));
  const Answer answer = call("Crash");
  expect_lost(answer, "ended by SIGILL");
  EXPECT_EQ(stream.get().code(), Code::kUnavailable);
}

TEST_F(ProcessPluginTest, AnExitIsNoOrderlyEnd) {
  start();
  expect_lost(call("Exit"), "ended with exit code 7");
}

TEST_F(ProcessPluginTest, GarbageIsNoAnswer) {
  start();
  expect_lost(call("Garbage"), "is out of order (the other side sent what is no frame");
}

TEST_F(ProcessPluginTest, AHandlerThatHangsCostsItsCallerTheDeadlineOnly) {
  start();
  const std::string pid = call("Pid").bytes;
  const Answer answer = call("Hang", "", milliseconds(300));
  EXPECT_EQ(answer.status.code(), Code::kDeadlineExceeded);
  // What was attempted, on what, what came of it, and what to do.
  EXPECT_THAT(
      answer.status.message(),
      AllOf(HasSubstr("call of berth.test.v1.Sick/Hang at berth.test.v1.sick"),
            HasSubstr("deadline exceeded after 0.3 s"), HasSubstr("ask again with more time"),
            HasSubstr("`berthctl plugin why berth.test.v1.sick`")));
  EXPECT_LT(answer.took, 2 * kSecond);
  EXPECT_EQ(call("Pid").bytes, pid) << "it was killed for one handler";
}

TEST_F(ProcessPluginTest, AProcessThatHangsIsKilledAndStartedAgain) {
  start();
  // A handler that promises not to block and does: nothing is received any more.
  const Answer answer = call("Spin", "", milliseconds(100));
  EXPECT_EQ(answer.status.code(), Code::kDeadlineExceeded);
  EXPECT_TRUE(back(1));
  EXPECT_THAT(plugin_->facts().last_end, HasSubstr("did not answer for 0.6 s and was killed"));
}

TEST_F(ProcessPluginTest, AStoppedProcessIsKilledToo) {
  start();
  ::kill(plugin_->facts().pid, SIGSTOP);
  EXPECT_TRUE(back(1));
}

TEST_F(ProcessPluginTest, AStoppedProcessIsToldAsStoppedBeforeItHasMissedAPing) {
  options_.hang_timeout = std::chrono::seconds(60);
  start();
  const pid_t pid = plugin_->facts().pid;
  const std::string its = "its process (pid " + std::to_string(pid) + ") ";
  EXPECT_THAT(plugin_->facts().silence(), IsEmpty());
  ::kill(pid, SIGSTOP);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(pid), &info, WSTOPPED | WNOWAIT), 0);
  EXPECT_EQ(plugin_->facts().silence(), its + "is stopped by a signal (SIGSTOP, say)");
  ::kill(pid, SIGCONT);
  EXPECT_TRUE(eventually([&] { return plugin_->facts().silence().empty(); }));
  ASSERT_EQ(::ptrace(PTRACE_SEIZE, pid, nullptr, nullptr), 0) << std::strerror(errno);
  ASSERT_EQ(::ptrace(PTRACE_INTERRUPT, pid, nullptr, nullptr), 0);
  EXPECT_TRUE(eventually([&] {
    return plugin_->facts().silence() == its + "is stopped by a debugger";
  })) << plugin_->facts().silence();
  ASSERT_EQ(::waitpid(pid, nullptr, __WALL), pid);
  ::ptrace(PTRACE_DETACH, pid, nullptr, nullptr);
  EXPECT_EQ(call("Pid").bytes, std::to_string(pid));
}

TEST_F(ProcessPluginTest, OneThatHasMissedAPingIsToldSoUntilItAnswers) {
  options_.hang_timeout = std::chrono::seconds(6);  // a ping each second
  start();
  const auto told = [&] { return plugin_->facts().silence(); };
  EXPECT_TRUE(eventually([&] { return plugin_->facts().unanswered.count() == 0; }));
  const pid_t pid = plugin_->facts().pid;
  ::kill(pid, SIGSTOP);
  EXPECT_TRUE(
      eventually([&] { return told().find("has not answered for ") != std::string::npos; }));
  EXPECT_GE(plugin_->facts().unanswered, std::chrono::seconds(1));
  EXPECT_LT(plugin_->facts().unanswered, std::chrono::seconds(6));
  ::kill(pid, SIGCONT);
  EXPECT_TRUE(eventually([&] { return told().empty(); })) << told();
  EXPECT_EQ(plugin_->facts().pid, pid) << "it was killed, and has not answered";
}

TEST_F(ProcessPluginTest, MemoryHasALimitThatIsMeasuredWhereTheKernelCannotHoldIt) {
  options_.memory_max = 100U << 20;
  options_.only_measured = "this test wants it so";
  start();
  expect_lost(call("Leak"), "more than its memory_max of 100 MiB, and was killed");
}

TEST_F(ProcessPluginTest, TheKernelHoldsItToItsMemory) {
  auto possible = MemoryCgroup::make("a-test", 100U << 20);
  if (!possible.ok()) GTEST_SKIP() << possible.status().message();
  const std::string parent = std::filesystem::path(possible->folder()).parent_path();
  const auto cgroups = [&] {
    const std::string own = "berth-plugin-" + std::to_string(::getpid()) + "-";
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(parent)) {
      if (entry.path().filename().string().starts_with(own)) ++count;
    }
    return count;
  };
  EXPECT_EQ(cgroups(), 1);
  { const MemoryCgroup gone = *std::move(possible); }
  ASSERT_EQ(cgroups(), 0);

  start();
  EXPECT_EQ(cgroups(), 0) << "without a limit there is no need for one";
  EXPECT_TRUE(call("Grab").status.ok()) << "the machine has no 300 MiB";
  plugin_->stop(monotonic_now() + 5 * kSecond);

  options_.memory_max = 100U << 20;
  start();
  EXPECT_EQ(cgroups(), 1);
  EXPECT_EQ(plugin_->facts().memory_held_by, "the kernel, by a cgroup");
  // 300 MiB at once: gone again before anybody who looks five times a second has seen them.
  expect_lost(call("Grab"),
              "needed more memory than its memory_max of 100 MiB and was killed by the kernel");
  EXPECT_EQ(cgroups(), 1) << "each process has one of its own";
  ::kill(plugin_->facts().pid, SIGKILL);
  ASSERT_TRUE(back(2));
  EXPECT_THAT(plugin_->facts().last_end, HasSubstr("ended by SIGKILL")) << "by somebody else";
  started_ = false;
  plugin_->stop(monotonic_now() + 5 * kSecond);
  EXPECT_EQ(cgroups(), 0);
}

TEST_F(ProcessPluginTest, UnhealthyIsStartedAgain) {
  start();
  (void)call("Unhealthy");
  EXPECT_TRUE(back(1));
  EXPECT_THAT(plugin_->facts().last_end, HasSubstr("unhealthy (it feels unwell)"));
}

TEST_F(ProcessPluginTest, ThoseWhoAskMeanwhileAreToldAndDelaysGrow) {
  options_.first_delay = milliseconds(100);
  options_.max_delay = milliseconds(400);
  start();
  int64_t last = 0;
  for (uint64_t round = 1; round <= 3; ++round) {
    (void)call("Crash");
    const int64_t began = monotonic_now();
    const Answer refused = call("Pid");
    EXPECT_EQ(refused.status.code(), Code::kUnavailable);
    EXPECT_THAT(refused.status.message(), HasSubstr("takes no calls: its process"));
    EXPECT_LT(refused.took, kSecond / 20) << "refused is at once";
    ASSERT_TRUE(back(round));
    const int64_t away = monotonic_now() - began;
    EXPECT_GE(away, (50 << round) * 1'000'000LL) << "delay " << round;
    last = away;
  }
  EXPECT_LT(last, 5 * kSecond);
}

TEST_F(ProcessPluginTest, TheDelayIsShortAgainAfterASteadyTime) {
  options_.first_delay = milliseconds(50);
  options_.max_delay = std::chrono::seconds(30);
  options_.steady = milliseconds(1);
  start();
  for (uint64_t round = 1; round <= 4; ++round) {
    (void)call("Crash");
    ASSERT_TRUE(back(round));
  }
}

TEST_F(ProcessPluginTest, StopsInOrderAndWithinItsTime) {
  start();
  const pid_t pid = plugin_->facts().pid;
  started_ = false;
  plugin_->stop(monotonic_now() + 5 * kSecond);
  EXPECT_EQ(::kill(pid, 0), -1);
  EXPECT_EQ(call("Pid").status.code(), Code::kUnavailable);

  start("stop:hang");
  const pid_t second = plugin_->facts().pid;
  started_ = false;
  const int64_t began = monotonic_now();
  plugin_->stop(monotonic_now() + kSecond);
  EXPECT_LT(monotonic_now() - began, 4 * kSecond);
  EXPECT_EQ(::kill(second, 0), -1);
}

TEST_F(ProcessPluginTest, AStopEndsARestartThatIsUnderWay) {
  options_.first_delay = std::chrono::seconds(30);
  options_.max_delay = std::chrono::seconds(30);
  start();
  (void)call("Crash");
  const int64_t began = monotonic_now();
  started_ = false;
  plugin_->stop(monotonic_now() + 5 * kSecond);
  EXPECT_LT(monotonic_now() - began, 3 * kSecond);
}

}  // namespace
}  // namespace berth::process
