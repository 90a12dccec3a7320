// The service with a runtime of a few lines of shell: what is told of processes, and in which
// order.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <thread>

#include "containerd/events/task.pb.h"
#include "containerd/runtime/task/v3/shim.pb.h"
#include "containerd/services/ttrpc/events/v1/events.pb.h"
#include "containerd/types/runc/options/oci.pb.h"
#include "files.h"
#include "service.h"

namespace berth::shim {
namespace {

namespace task = containerd::task::v3;

// `create` makes a process that waits for a file, `start` makes the file and lingers. A second
// process does what its specification says, which is shell here, once the subshell that made it is
// gone: a shell that lives reaps its children.
constexpr const char* kRuntime = R"(#!/bin/sh
words="$*"
while test $# -gt 0; do
  case "$1" in
    --bundle|--pid-file|--process|--root|--log|--log-format) eval "$(echo ${1#--} | tr - _)=\$2"; shift;;
    create|start|exec|delete|kill) action=$1;;
  esac
  shift
done
case $action in
  create)
    { echo "$words"; stat -L -c %u:%g /proc/$$/fd/3 /proc/$$/fd/2; } 3>&1 >$bundle/called
    (trap 'exit 9' TERM; while ! test -e $bundle/go; do sleep 0.01; done; exec sh $bundle/program) & echo -n $! >$pid_file;;
  start) touch go; sleep 0.3;;
  exec)
    program=$(cat $process)
    (sh -c "until test -e $pid_file.go; do :; done; $program" & echo -n $! >$pid_file)
    touch $pid_file.go
    sleep 0.05;;
esac
exit 0
)";

// Outlives every test: the thread that reaps never ends.
struct World {
  std::shared_ptr<ttrpc::Loop> loop;
  std::unique_ptr<ttrpc::Server> daemon;
  std::unique_ptr<ttrpc::Server> server;
  Service* service = nullptr;
  std::shared_ptr<ttrpc::Client> client;
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::string> told;  // "/tasks/exit c1 7"
};

class ExitsTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    ::signal(SIGPIPE, SIG_IGN);
    ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    char name[] = "/tmp/berth-shim-exits-XXXXXX";
    folder_ = new std::string(::mkdtemp(name));
    world_ = new World();
    World& world = *world_;
    world.loop = *ttrpc::Loop::start();
    world.daemon =
        *ttrpc::Server::serve(world.loop, *ttrpc::listen_unix(*folder_ + "/d", 0600),
                              [](const ttrpc::Request& request, const ttrpc::Responder& responder) {
                                record(request.payload);
                                responder.finish({});
                              });
    world.service =
        new Service(world.loop, std::make_shared<Publisher>(world.loop, *folder_ + "/d", "ns"),
                    {"ns", *folder_ + "/s", [] {}});
    world.server =
        *ttrpc::Server::serve(world.loop, *ttrpc::listen_unix(*folder_ + "/s", 0600),
                              [](ttrpc::Request request, ttrpc::Responder responder) {
                                world_->service->handle(std::move(request), std::move(responder));
                              });
    std::thread([] {
      sigset_t set;
      ::sigemptyset(&set);
      ::sigaddset(&set, SIGCHLD);
      ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
      world_->service->children().serve();
    }).detach();
    world.client = *ttrpc::Client::connect(world.loop, *folder_ + "/s");
    ASSERT_TRUE(write_file(*folder_ + "/runtime.sh", kRuntime, 0755).ok());
  }
  static void TearDownTestSuite() { std::filesystem::remove_all(*folder_); }

  static void record(const std::string& payload) {
    containerd::services::events::ttrpc::v1::ForwardRequest request;
    request.ParseFromString(payload);
    std::string line = request.envelope().topic();
    if (line == "/tasks/exit") {
      containerd::events::TaskExit event;
      event.ParseFromString(request.envelope().event().value());
      line += " " + event.id() + " " + std::to_string(event.exit_status());
    }
    const std::lock_guard lock(world_->mutex);
    world_->told.push_back(line);
    world_->changed.notify_all();
  }

  void SetUp() override {
    const std::lock_guard lock(world_->mutex);
    world_->told.clear();
  }

  template <typename Response = task::StartResponse, typename Request>
  static Response call(const char* method, const Request& request) {
    std::string bytes;
    ttrpc::CallOptions options;
    options.deadline_ns = ttrpc::monotonic_ns() + 20'000'000'000;
    const Status status = world_->client->call("containerd.task.v2.Task", method,
                                               request.SerializeAsString(), options, &bytes);
    EXPECT_TRUE(status.ok()) << method << ": " << status.to_string();
    Response response;
    response.ParseFromString(bytes);
    return response;
  }

  static void create(const std::string& id, const std::string& program,
                     containerd::runc::v1::Options options = {}, const std::string& output = "") {
    const std::string bundle = *folder_ + "/" + id;
    ASSERT_EQ(::mkdir(bundle.c_str(), 0700), 0);
    ASSERT_TRUE(write_file(bundle + "/program", program).ok());
    ASSERT_TRUE(
        write_file(bundle + "/config.json", R"({"linux":{"namespaces":[{"type":"pid"}]}})").ok());
    options.set_binary_name(*folder_ + "/runtime.sh");
    task::CreateTaskRequest request;
    request.set_id(id);
    request.set_bundle(bundle);
    request.set_stdout(output);
    request.set_stderr(output);
    request.mutable_options()->set_type_url("containerd.runc.v1.Options");
    request.mutable_options()->set_value(options.SerializeAsString());
    const auto response = call<task::CreateTaskResponse>("Create", request);
    EXPECT_GT(response.pid(), 0u);
  }

  static uint32_t start(const std::string& id, const std::string& exec_id = "") {
    task::StartRequest request;
    request.set_id(id);
    request.set_exec_id(exec_id);
    return call("Start", request).pid();
  }
  static void exec(const std::string& id, const std::string& exec_id, const std::string& program) {
    task::ExecProcessRequest request;
    request.set_id(id);
    request.set_exec_id(exec_id);
    request.mutable_spec()->set_value(program);
    call("Exec", request);
  }
  static uint32_t wait(const std::string& id, const std::string& exec_id = "") {
    task::WaitRequest request;
    request.set_id(id);
    request.set_exec_id(exec_id);
    return call<task::WaitResponse>("Wait", request).exit_status();
  }
  static uint32_t remove(const std::string& id) {
    task::DeleteRequest request;
    request.set_id(id);
    return call<task::DeleteResponse>("Delete", request).exit_status();
  }
  static std::vector<std::string> told_until(const std::string& last) {
    std::unique_lock lock(world_->mutex);
    world_->changed.wait_for(lock, std::chrono::seconds(10),
                             [&] { return !world_->told.empty() && world_->told.back() == last; });
    return world_->told;
  }

  static std::string* folder_;
  static World* world_;
};

std::string* ExitsTest::folder_ = nullptr;
World* ExitsTest::world_ = nullptr;

TEST_F(ExitsTest, AnEndBeforeTheStartIsAnsweredIsToldAfterIt) {
  create("quick", "exit 7");
  EXPECT_GT(start("quick"), 0u);
  EXPECT_EQ(wait("quick"), 7u);
  EXPECT_EQ(remove("quick"), 7u);
  const std::vector<std::string> wanted = {"/tasks/create", "/tasks/start", "/tasks/exit quick 7",
                                           "/tasks/delete"};
  EXPECT_EQ(told_until("/tasks/delete"), wanted);
}

TEST_F(ExitsTest, ExecsEndBeforeTheFirstProcess) {
  create("order", "sleep 1; exit 4");
  exec("order", "e1", "sleep 2; exit 5");
  start("order");
  EXPECT_GT(start("order", "e1"), 0u);
  EXPECT_EQ(wait("order"), 4u);
  EXPECT_EQ(wait("order", "e1"), 5u);
  EXPECT_EQ(remove("order"), 4u);
  const std::vector<std::string> wanted = {
      "/tasks/create",    "/tasks/exec-added",   "/tasks/start", "/tasks/exec-started",
      "/tasks/exit e1 5", "/tasks/exit order 4", "/tasks/delete"};
  EXPECT_EQ(told_until("/tasks/delete"), wanted);
}

TEST_F(ExitsTest, AnExecThatEndsAtOnceIsNotMissed) {
  create("host", "exec sleep 100");
  start("host");
  for (int i = 0; i < 20; ++i) {
    const std::string id = "e" + std::to_string(i);
    exec("host", id, "exit " + std::to_string(i));
    start("host", id);
    EXPECT_EQ(wait("host", id), static_cast<uint32_t>(i));
  }
  task::KillRequest kill;
  kill.set_id("host");
  kill.set_exec_id("");
  kill.set_signal(SIGKILL);
  // Not runc, so the runtime is asked, and this one does nothing.
  call("Kill", kill);
  task::StateRequest state;
  state.set_id("host");
  const auto found = call<task::StateResponse>("State", state);
  ASSERT_GT(found.pid(), 1u);
  ::kill(static_cast<pid_t>(found.pid()), SIGKILL);
  EXPECT_EQ(wait("host"), 137u);
  EXPECT_EQ(remove("host"), 137u);
}

// Clients stop reading when they hear of the end, so that what they have not read by then is lost.
TEST_F(ExitsTest, TheClientHasTheOutputBeforeItHearsOfTheEnd) {
  constexpr size_t kSize = 20'000;
  const std::string fifo = *folder_ + "/read.out";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const UniqueFd reader(::open(fifo.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  create("read", "head -c " + std::to_string(kSize) + " /dev/zero; exit 6", {}, fifo);
  start("read");
  std::atomic<size_t> got = 0;
  std::thread client([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    char buffer[1000];
    for (ssize_t count = 0; (count = ::read(reader.get(), buffer, sizeof buffer)) > 0;) {
      got += static_cast<size_t>(count);
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  });
  EXPECT_EQ(wait("read"), 6u);
  EXPECT_EQ(got, kSize);
  client.join();
  EXPECT_EQ(remove("read"), 6u);
}

TEST_F(ExitsTest, AClientThatDoesNotReadHearsOfTheEnd) {
  const std::string fifo = *folder_ + "/unread.out";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const UniqueFd reader(::open(fifo.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  create("unread", "echo words; exit 6", {}, fifo);
  start("unread");
  EXPECT_EQ(wait("unread"), 6u);
  EXPECT_EQ(remove("unread"), 6u);
  EXPECT_EQ(read_all(reader.get(), 100), "words\n") << "and finds it later";
}

// With what it is called, and whose its streams are.
TEST_F(ExitsTest, OptionsReachTheRuntime) {
  if (::geteuid() != 0) GTEST_SKIP() << "gives a pipe to another user: needs root";
  containerd::runc::v1::Options options;
  options.set_no_pivot_root(true);
  options.set_no_new_keyring(true);
  options.set_root(*folder_ + "/elsewhere");
  options.set_io_uid(4321);
  options.set_io_gid(8765);
  const std::string fifo = *folder_ + "/out";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  create("asked", "exit 3", options, fifo);
  const Result<std::string> called = read_file(*folder_ + "/asked/called");
  ASSERT_TRUE(called.ok()) << called.status().to_string();
  EXPECT_NE(called->find(" --no-pivot --no-new-keyring asked\n"), std::string::npos) << *called;
  EXPECT_NE(called->find("--root " + *folder_ + "/elsewhere/ns "), std::string::npos) << *called;
  EXPECT_NE(called->find("4321:8765\n4321:8765\n"), std::string::npos) << *called;
  start("asked");
  EXPECT_EQ(wait("asked"), 3u);
  EXPECT_EQ(remove("asked"), 3u);

  create("plain", "exit 3");
  EXPECT_EQ(read_file(*folder_ + "/plain/called")->find("--no-"), std::string::npos);
  start("plain");
  EXPECT_EQ(wait("plain"), 3u);
  EXPECT_EQ(remove("plain"), 3u);
}

}  // namespace
}  // namespace berth::shim
