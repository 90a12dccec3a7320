// For shims: what a daemon asks of one, from its start to what it leaves when it is killed.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "testing/must.h"
#include "testing/suite_files.h"
#include "validate/descendants.h"
#include "validate/kits/shim_kit.h"

namespace berth::ctl::validate {

using Lines = std::vector<std::string>;
using berth::testing::must;
using containerd::v1::types::CREATED;
using containerd::v1::types::PAUSED;
using containerd::v1::types::RUNNING;
using containerd::v1::types::STOPPED;

#define LAUNCH_OR_RETURN(name, ...)            \
  Container* const name = launch(__VA_ARGS__); \
  if (name == nullptr) return

const Wanted kForEver = {.args = {"sh", "-c", "while :; do sleep 1; done"}};

TEST_F(ShimKit, StartsAndGoes) {
  LAUNCH_OR_RETURN(container, {});
  EXPECT_EQ(::kill(container->shim_pid, 0), 0) << "Connect tells a pid of nobody";
  EXPECT_EQ(state(container).status().code(), Code::kNotFound) << "State of nothing";
  EXPECT_EQ(start(container).code(), Code::kNotFound) << "Start of nothing";
  EXPECT_EQ(kill(container, SIGTERM).code(), Code::kNotFound) << "Kill of nothing";
  dismiss(container);
}

TEST_F(ShimKit, RunsAProcessToItsEnd) {
  LAUNCH_OR_RETURN(container, {.args = {"sh", "-c",
                                        "echo ran > /ran; echo out; echo err >&2; "
                                        "exit 7"}});
  const Streams streams{"", fifo("out"), fifo("err")};
  FifoReader out(streams.out), err(streams.err);
  uint32_t pid = 0;
  const Status created = create(container, streams, &pid);
  ASSERT_TRUE(created.ok()) << created.to_string();
  EXPECT_GT(pid, 1U);
  auto seen = state(container);
  ASSERT_TRUE(seen.ok()) << seen.status().to_string();
  EXPECT_EQ(seen->status(), CREATED);
  EXPECT_EQ(seen->pid(), pid);
  EXPECT_EQ(seen->id(), container->id);
  EXPECT_EQ(seen->stdout(), streams.out);
  EXPECT_FALSE(berth::testing::exists(container->rootfs + "/ran")) << "it runs before Start";
  auto waiting = wait(container);
  uint32_t started_pid = 0;
  ASSERT_TRUE(start(container, "", &started_pid).ok());
  EXPECT_EQ(started_pid, pid);
  const Ended ended = end_of(waiting);
  ASSERT_TRUE(ended.status.ok()) << ended.status.to_string();
  EXPECT_EQ(ended.code, 7U);
  EXPECT_GT(ended.seconds, 1'700'000'000);
  EXPECT_EQ(out.read(4), "out\n");
  EXPECT_EQ(err.read(4), "err\n");
  EXPECT_EQ(berth::testing::read(container->rootfs + "/ran"), "ran\n") << "in its own root";
  seen = state(container);
  ASSERT_TRUE(seen.ok()) << seen.status().to_string();
  EXPECT_EQ(seen->status(), STOPPED);
  EXPECT_EQ(seen->exit_status(), 7U);
  EXPECT_FALSE(start(container).ok()) << "what has ended is started again";
  auto again = wait(container);
  EXPECT_EQ(end_of(again).code, 7U) << "Wait after the end";
  shim_api::DeleteResponse deleted;
  ASSERT_TRUE(remove(container, "", &deleted).ok());
  EXPECT_EQ(deleted.exit_status(), 7U);
  EXPECT_EQ(deleted.pid(), pid);
  EXPECT_GT(deleted.exited_at().seconds(), 1'700'000'000);
  EXPECT_EQ(remove(container).code(), Code::kNotFound);
  EXPECT_EQ(events_.wait_for(container->id, 4),
            (Lines{"/tasks/create ID", "/tasks/start ID", "/tasks/exit ID status 7",
                   "/tasks/delete ID"}));
  dismiss(container);
}

TEST_F(ShimKit, TheProcessIsWhatTheSpecificationSays) {
  LAUNCH_OR_RETURN(container, {.args = {"sh", "-c",
                                        "pwd; echo \"$A\"; id -u; id -g; echo \"$1\"; "
                                        "cat /proc/self/mounts > /dev/null && echo p",
                                        "name", "two words"},
                               .env = {"PATH=/bin", "A=x  y"},
                               .cwd = "/tmp",
                               .user = 1234});
  const Streams streams{"", fifo("out"), ""};
  FifoReader out(streams.out);
  const Status created = create(container, streams);
  ASSERT_TRUE(created.ok()) << created.to_string();
  auto waiting = wait(container);
  ASSERT_TRUE(start(container).ok());
  EXPECT_EQ(end_of(waiting).code, 0U);
  const std::string wanted = "/tmp\nx  y\n1234\n1234\ntwo words\np\n";
  EXPECT_EQ(out.read(wanted.size()), wanted);
  EXPECT_TRUE(remove(container).ok());
  dismiss(container);
}

TEST_F(ShimKit, SignalsAndTheirExitCodes) {
  for (const int signal : {SIGTERM, SIGKILL, SIGUSR1}) {
    const bool caught = signal == SIGUSR1;
    LAUNCH_OR_RETURN(
        container,
        {.args = {"sh", "-c",
                  std::string(caught ? "trap 'exit 9' USR1; " : "trap 'exit 15' TERM; ") +
                      "echo up; while :; do sleep 0.05; done"}});
    const Streams streams{"", fifo("out-" + std::to_string(signal)), ""};
    FifoReader out(streams.out);
    const Status created = create(container, streams);
    ASSERT_TRUE(created.ok()) << created.to_string();
    auto waiting = wait(container);
    ASSERT_TRUE(start(container).ok());
    ASSERT_EQ(out.read(3), "up\n");
    EXPECT_EQ(must(state(container)).status(), RUNNING);
    EXPECT_EQ(remove(container).code(), Code::kFailedPrecondition) << "of what runs";
    const Status killed = kill(container, signal);
    ASSERT_TRUE(killed.ok()) << killed.to_string();
    const Ended ended = end_of(waiting);
    ASSERT_TRUE(ended.status.ok()) << ended.status.to_string();
    EXPECT_EQ(ended.code, signal == SIGKILL ? 137U : caught ? 9U : 15U) << "signal " << signal;
    EXPECT_EQ(kill(container, SIGTERM).code(), Code::kNotFound) << "of what has ended";
    EXPECT_TRUE(remove(container).ok());
    dismiss(container);
  }
}

TEST_F(ShimKit, CreatedAndNeverStarted) {
  LAUNCH_OR_RETURN(container, kForEver);
  ASSERT_TRUE(create(container).ok());
  auto waiting = wait(container);
  const Status killed = kill(container, SIGKILL);
  ASSERT_TRUE(killed.ok()) << killed.to_string();
  EXPECT_EQ(end_of(waiting).code, 137U);
  EXPECT_TRUE(remove(container).ok());
  EXPECT_EQ(events_.wait_for(container->id, 3),
            (Lines{"/tasks/create ID", "/tasks/exit ID status 137", "/tasks/delete ID"}));
  dismiss(container);
}

TEST_F(ShimKit, ManyWait) {
  LAUNCH_OR_RETURN(container, kForEver);
  ASSERT_TRUE(create(container).ok());
  std::vector<std::future<Ended>> waiting;
  for (int i = 0; i < 30; ++i) waiting.push_back(wait(container));
  ASSERT_TRUE(start(container).ok());
  EXPECT_EQ(must(state(container)).status(), RUNNING)
      << "other calls are held up by those that wait";
  ASSERT_TRUE(kill(container, SIGKILL).ok());
  for (auto& one : waiting) {
    const Ended ended = end_of(one);
    EXPECT_TRUE(ended.status.ok()) << ended.status.to_string();
    EXPECT_EQ(ended.code, 137U);
  }
  EXPECT_TRUE(remove(container).ok());
  dismiss(container);
}

TEST_F(ShimKit, ExecsBesideIt) {
  LAUNCH_OR_RETURN(container, kForEver);
  ASSERT_TRUE(create(container).ok());
  ASSERT_TRUE(start(container).ok());
  const Wanted wanted = {.args = {"sh", "-c", "echo beside > /beside; exit 3"}};
  const Status added = exec(container, "first", wanted);
  if (added.code() == Code::kUnimplemented) GTEST_SKIP() << "no execs: " << added.message();
  ASSERT_TRUE(added.ok()) << added.to_string();
  EXPECT_EQ(exec(container, "first", wanted).code(), Code::kAlreadyExists);
  EXPECT_EQ(must(state(container, "first")).status(), CREATED);
  EXPECT_FALSE(berth::testing::exists(container->rootfs + "/beside")) << "it runs before Start";
  auto waiting = wait(container, "first");
  uint32_t pid = 0;
  const Status started = start(container, "first", &pid);
  ASSERT_TRUE(started.ok()) << started.to_string();
  EXPECT_GT(pid, 1U);
  EXPECT_EQ(end_of(waiting).code, 3U);
  EXPECT_EQ(berth::testing::read(container->rootfs + "/beside"), "beside\n");
  EXPECT_EQ(must(state(container)).status(), RUNNING) << "the container ends with an exec";
  shim_api::DeleteResponse deleted;
  ASSERT_TRUE(remove(container, "first", &deleted).ok());
  EXPECT_EQ(deleted.exit_status(), 3U);
  EXPECT_EQ(remove(container, "first").code(), Code::kNotFound);
  EXPECT_EQ(state(container, "first").status().code(), Code::kNotFound);
  // One that is killed, and one that never was.
  ASSERT_TRUE(exec(container, "second", kForEver).ok()) << "another after it";
  waiting = wait(container, "second");
  ASSERT_TRUE(start(container, "second").ok());
  ASSERT_TRUE(kill(container, SIGKILL, "second").ok());
  EXPECT_EQ(end_of(waiting).code, 137U);
  EXPECT_TRUE(remove(container, "second").ok());
  EXPECT_EQ(start(container, "never").code(), Code::kNotFound);
  waiting = wait(container);
  ASSERT_TRUE(kill(container, SIGKILL).ok());
  EXPECT_EQ(end_of(waiting).code, 137U);
  EXPECT_TRUE(remove(container).ok());
  EXPECT_EQ(
      events_.wait_for(container->id, 10),
      (Lines{"/tasks/create ID", "/tasks/start ID", "/tasks/exec-added ID first",
             "/tasks/exec-started ID first", "/tasks/exit ID first status 3",
             "/tasks/exec-added ID second", "/tasks/exec-started ID second",
             "/tasks/exit ID second status 137", "/tasks/exit ID status 137", "/tasks/delete ID"}));
  dismiss(container);
}

TEST_F(ShimKit, PausesAndResumes) {
  LAUNCH_OR_RETURN(container,
                   {.args = {"sh", "-c", "while :; do echo x >> /beat; sleep 0.02; done"}});
  ASSERT_TRUE(create(container).ok());
  ASSERT_TRUE(start(container).ok());
  const std::string beat = container->rootfs + "/beat";
  const auto beats = [&] {
    return berth::testing::exists(beat) ? berth::testing::status_of(beat).st_size : 0;
  };
  ASSERT_TRUE(comes_true([&] { return beats() > 2; }));
  const Status paused = simple(container, "Pause");
  if (paused.code() == Code::kUnimplemented) GTEST_SKIP() << "no pause: " << paused.message();
  ASSERT_TRUE(paused.ok()) << paused.to_string();
  EXPECT_EQ(must(state(container)).status(), PAUSED);
  const auto before = beats();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_EQ(beats(), before) << "it goes on while it is paused";
  ASSERT_TRUE(simple(container, "Resume").ok());
  EXPECT_EQ(must(state(container)).status(), RUNNING);
  EXPECT_TRUE(comes_true([&] { return beats() > before; })) << "it does not go on";
  auto waiting = wait(container);
  ASSERT_TRUE(kill(container, SIGKILL).ok());
  EXPECT_EQ(end_of(waiting).code, 137U);
  EXPECT_TRUE(remove(container).ok());
  EXPECT_EQ(events_.wait_for(container->id, 6),
            (Lines{"/tasks/create ID", "/tasks/start ID", "/tasks/paused ID", "/tasks/resumed ID",
                   "/tasks/exit ID status 137", "/tasks/delete ID"}));
  dismiss(container);
}

TEST_F(ShimKit, TellsItsProcesses) {
  LAUNCH_OR_RETURN(container, kForEver);
  uint32_t pid = 0;
  ASSERT_TRUE(create(container, {}, &pid).ok());
  ASSERT_TRUE(start(container).ok());
  shim_api::PidsRequest request;
  shim_api::PidsResponse pids;
  request.set_id(container->id);
  ASSERT_TRUE(call(container, "Pids", request, &pids).ok());
  bool there = false;
  for (const auto& one : pids.processes()) there = there || one.pid() == pid;
  EXPECT_TRUE(there) << "the first process is not among them";
  shim_api::ConnectRequest connect_request;
  shim_api::ConnectResponse connected;
  connect_request.set_id(container->id);
  ASSERT_TRUE(call(container, "Connect", connect_request, &connected).ok());
  EXPECT_EQ(connected.task_pid(), pid);
  auto waiting = wait(container);
  ASSERT_TRUE(kill(container, SIGKILL).ok());
  EXPECT_EQ(end_of(waiting).code, 137U);
  EXPECT_TRUE(remove(container).ok());
  dismiss(container);
}

TEST_F(ShimKit, InputPassesAndEnds) {
  LAUNCH_OR_RETURN(container, {.args = {"cat"}});
  const Streams streams{fifo("in"), fifo("out"), ""};
  FifoReader out(streams.out);
  UniqueFd in(::open(streams.in.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  const Status created = create(container, streams);
  ASSERT_TRUE(created.ok()) << created.to_string();
  auto waiting = wait(container);
  ASSERT_TRUE(start(container).ok());
  std::string bytes(600'000, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>('a' + i % 26);
  std::thread writer([&] {
    const int64_t end = monotonic_now() + 10'000'000'000;
    for (size_t at = 0; at < bytes.size() && monotonic_now() < end;) {
      const ssize_t count = ::write(in.get(), bytes.data() + at, bytes.size() - at);
      if (count > 0) {
        at += static_cast<size_t>(count);
      } else {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    }
  });
  EXPECT_TRUE(out.read(bytes.size()) == bytes) << "not all of it comes through";
  writer.join();
  in.reset();
  shim_api::CloseIORequest close;
  google::protobuf::Empty nothing;
  close.set_id(container->id);
  close.set_stdin(true);
  ASSERT_TRUE(call(container, "CloseIO", close, &nothing).ok());
  const Ended ended = end_of(waiting);
  ASSERT_TRUE(ended.status.ok()) << "after CloseIO: " << ended.status.to_string();
  EXPECT_EQ(ended.code, 0U);
  EXPECT_TRUE(remove(container).ok());
  dismiss(container);
}

TEST_F(ShimKit, Terminals) {
  LAUNCH_OR_RETURN(container, {.args = {"sh", "-c", "test -t 0 && test -t 1 && echo terminal"},
                               .terminal = true});
  const Streams streams{fifo("in"), fifo("out"), ""};
  FifoReader out(streams.out);
  const UniqueFd in(::open(streams.in.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  const Status created = create(container, streams);
  if (created.code() == Code::kUnimplemented) GTEST_SKIP() << "none: " << created.message();
  ASSERT_TRUE(created.ok()) << created.to_string();
  shim_api::ResizePtyRequest resize;
  google::protobuf::Empty nothing;
  resize.set_id(container->id);
  resize.set_width(100);
  resize.set_height(40);
  EXPECT_TRUE(call(container, "ResizePty", resize, &nothing).ok());
  auto waiting = wait(container);
  ASSERT_TRUE(start(container).ok());
  EXPECT_EQ(end_of(waiting).code, 0U);
  EXPECT_EQ(out.read(10), "terminal\r\n");
  EXPECT_TRUE(remove(container).ok());
  dismiss(container);
}

TEST_F(ShimKit, ProgramsThatAreNotThere) {
  LAUNCH_OR_RETURN(container, {.args = {"/no/such/program"}});
  // Some find it out in Create, others in Start.
  Status failed = create(container);
  if (failed.ok()) {
    failed = start(container);
    EXPECT_FALSE(failed.ok()) << "a program that is not there is started";
    const Status removed = remove(container);
    EXPECT_TRUE(removed.ok()) << "Delete after a Start that failed: " << removed.to_string();
  }
  EXPECT_FALSE(failed.message().empty());
  EXPECT_EQ(state(container).status().code(), Code::kNotFound) << "it is still there";
  dismiss(container);
}

TEST_F(ShimKit, NonsenseIsRefusedAndForgotten) {
  LAUNCH_OR_RETURN(container, {.args = {"sh", "-c", "exit 4"}});
  shim_api::StateRequest request;
  shim_api::StateResponse response;
  request.set_id(container->id);
  EXPECT_EQ(call(container, "NoSuchMethod", request, &response).code(), Code::kUnimplemented);
  const auto path = container->bootstrap.socket_path();
  ASSERT_TRUE(path.ok());
  for (const std::string& noise :
       {std::string("GET / HTTP/1.1\r\n\r\n"), std::string(10, '\xff'), std::string(3, '\0')}) {
    auto client = ttrpc::Client::connect(loop_, *path, monotonic_now() + 5'000'000'000);
    ASSERT_TRUE(client.ok()) << client.status().to_string();
    std::string answer;
    const std::string service =
        "containerd.task.v" + std::to_string(container->shim->version()) + ".Task";
    const Status refused =
        (*client)->call(service, "State", noise, {monotonic_now() + 5'000'000'000, {}}, &answer);
    EXPECT_FALSE(refused.ok()) << "bytes that are no message";
    EXPECT_NE(refused.code(), Code::kDeadlineExceeded) << "bytes that are no message";
  }
  ASSERT_NO_FATAL_FAILURE(run_to_end(container, 4));
  EXPECT_TRUE(remove(container).ok());
  dismiss(container);
}

// A daemon goes and comes back: its shims go on, and tell what has happened meanwhile.
TEST_F(ShimKit, GoesOnWithoutADaemon) {
  LAUNCH_OR_RETURN(container, {.args = {"sh", "-c",
                                        "echo up; while [ ! -e /tmp/go ]; do sleep "
                                        "0.02; done; exit 5"}});
  const Streams streams{"", fifo("out"), ""};
  FifoReader out(streams.out);
  const Status created = create(container, streams);
  ASSERT_TRUE(created.ok()) << created.to_string();
  ASSERT_TRUE(start(container).ok());
  ASSERT_EQ(out.read(3), "up\n");
  server_.reset();
  container->shim->close();
  berth::testing::write(container->rootfs + "/tmp/go", "");
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  const Status connected = connect(container);
  ASSERT_TRUE(connected.ok()) << connected.to_string();
  auto waiting = wait(container);
  const Ended ended = end_of(waiting);
  ASSERT_TRUE(ended.status.ok()) << ended.status.to_string();
  EXPECT_EQ(ended.code, 5U);
  EXPECT_TRUE(remove(container).ok());
  dismiss(container);
}

// "delete" is what is left to do when a shim was killed.
TEST_F(ShimKit, DeleteCleansUpAfterAKilledShim) {
  LAUNCH_OR_RETURN(container, kForEver);
  uint32_t pid = 0;
  ASSERT_TRUE(create(container, {}, &pid).ok());
  ASSERT_TRUE(start(container).ok());
  ASSERT_EQ(::kill(container->shim_pid, SIGKILL), 0);
  ASSERT_TRUE(comes_true([&] { return is_gone(container->shim_pid); }));
  doing("run " + subject().file + " delete");
  const auto deleted = launcher_->remove(*container->bundle, subject().file);
  ASSERT_TRUE(deleted.ok()) << deleted.status().to_string();
  EXPECT_EQ(deleted->status, 137U);
  EXPECT_TRUE(comes_true([&] { return is_gone(static_cast<pid_t>(pid)); }))
      << "the container's process goes on";
  container->dismissed = true;
}

}  // namespace berth::ctl::validate
