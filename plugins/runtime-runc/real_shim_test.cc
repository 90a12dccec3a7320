// The runtime with containerd's own shim and runc. BERTH_TEST_SHIM_PATH names another folder with a
// shim.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "testing.h"

namespace berth::runtime {
namespace {

using namespace std::chrono_literals;
using ::testing::Test;

std::string shim_folder() {
  const char* const set = std::getenv("BERTH_TEST_SHIM_PATH");
  return set != nullptr ? set : "/usr/bin";
}

class RealShim : public Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "runc needs root here";
    for (const std::string& program :
         {shim_folder() + "/containerd-shim-runc-v2", std::string("/usr/sbin/runc"),
          std::string("/bin/busybox")}) {
      if (::access(program.c_str(), X_OK) != 0) GTEST_SKIP() << program << " is not installed";
    }
    daemon = std::make_unique<TestDaemon>(std::vector<std::string>{shim_folder()});
    std::filesystem::create_directories(daemon->folder / "rootfs/bin");
    std::filesystem::copy_file("/bin/busybox", daemon->folder / "rootfs/bin/busybox");
    std::filesystem::create_symlink("busybox", daemon->folder / "rootfs/bin/sh");
    for (const char* name : {"proc", "dev", "sys", "tmp"}) {
      std::filesystem::create_directory(daemon->folder / ("rootfs/" + std::string(name)));
    }
  }
  void TearDown() override {
    if (daemon == nullptr) return;
    for (const auto& task : daemon->runtime->list("")) {
      (void)kill_task(task->key().id, SIGKILL);
      (void)daemon->wait(task->key().id).wait_for(10s);
      tasks_api::DeleteResponse response;
      EXPECT_TRUE(daemon->runtime->remove(daemon->context, task->key().id, &response).ok())
          << task->key().id;
    }
    daemon.reset();
  }

  nlohmann::json process(const std::vector<std::string>& arguments) {
    return {{"user", {{"uid", 0}, {"gid", 0}}},
            {"args", arguments},
            {"cwd", "/"},
            {"env", {"PATH=/bin"}}};
  }
  void add_container(const std::string& id, const std::vector<std::string>& arguments) {
    using nlohmann::json;
    const json spec = {
        {"ociVersion", "1.0.2"},
        {"process", process(arguments)},
        {"root", {{"path", "rootfs"}}},
        {"mounts", json::array({{{"destination", "/proc"}, {"type", "proc"}, {"source", "proc"}}})},
        {"linux",
         {{"cgroupsPath", "/berth-test-" + std::to_string(::getpid()) + "-" + id},
          {"namespaces",
           json::array(
               {{{"type", "pid"}}, {{"type", "ipc"}}, {{"type", "uts"}}, {{"type", "mount"}}})}}}};
    auto& record = daemon->containers.records[id];
    record.set_id(id);
    record.mutable_runtime()->set_name("io.containerd.runc.v2");
    record.mutable_spec()->set_type_url("types.containerd.io/opencontainers/runtime-spec/1/Spec");
    record.mutable_spec()->set_value(spec.dump());
  }
  Status create(const std::string& id, const std::string& output = "") {
    tasks_api::CreateTaskRequest request;
    request.set_container_id(id);
    auto* mount = request.add_rootfs();
    mount->set_type("bind");
    mount->set_source(daemon->folder / "rootfs");
    mount->add_options("rbind");
    mount->add_options("rw");
    request.set_stdout(output);
    request.set_stderr(output);
    tasks_api::CreateTaskResponse response;
    const Status status = daemon->tasks->Create(daemon->context, request, &response);
    if (status.ok()) {
      EXPECT_GT(response.pid(), 0u);
    }
    return status;
  }
  Status start(const std::string& id, const std::string& exec_id = "") {
    tasks_api::StartRequest request;
    request.set_container_id(id);
    request.set_exec_id(exec_id);
    tasks_api::StartResponse response;
    const Status status = daemon->tasks->Start(daemon->context, request, &response);
    if (status.ok()) {
      EXPECT_GT(response.pid(), 0u);
    }
    return status;
  }
  Status kill_task(const std::string& id, uint32_t signal) {
    tasks_api::KillRequest request;
    request.set_container_id(id);
    request.set_signal(signal);
    request.set_all(true);
    google::protobuf::Empty empty;
    return daemon->tasks->Kill(daemon->context, request, &empty);
  }
  Status remove(const std::string& id, uint32_t* exit_status = nullptr) {
    tasks_api::DeleteTaskRequest request;
    request.set_container_id(id);
    tasks_api::DeleteResponse response;
    const Status status = daemon->tasks->Delete(daemon->context, request, &response);
    if (exit_status != nullptr) *exit_status = response.exit_status();
    return status;
  }
  containerd::v1::types::Status status_of(const std::string& id) {
    tasks_api::GetRequest request;
    request.set_container_id(id);
    tasks_api::GetResponse response;
    const Status status = daemon->tasks->Get(daemon->context, request, &response);
    EXPECT_TRUE(status.ok()) << status.to_string();
    return response.process().status();
  }
  void expect_gone(const std::string& id) {
    const std::string work = daemon->settings.roots.root + "/default/" + id;
    const auto exists = [&] {
      return std::filesystem::exists(daemon->bundle(id)) || std::filesystem::exists(work);
    };
    for (int i = 0; i < 500 && exists(); ++i) std::this_thread::sleep_for(10ms);
    EXPECT_FALSE(exists()) << daemon->logged();
  }
  void expect_nothing_left(const std::string& id) {
    expect_gone(id);  // a shim is dismissed after the deletion has been answered
    std::ifstream mounts("/proc/self/mountinfo");
    const std::string text((std::istreambuf_iterator<char>(mounts)),
                           std::istreambuf_iterator<char>());
    EXPECT_EQ(text.find(daemon->folder.path()), std::string::npos);
  }
  pid_t shim_pid(const std::string& id) {
    const auto task = daemon->runtime->find(daemon->context, id);
    for (int i = 0; i < 500 && (*task)->shim()->pid() == 0; ++i) std::this_thread::sleep_for(10ms);
    return static_cast<pid_t>((*task)->shim()->pid());
  }

  // On a busy machine a moment passes between the signal and the stop.
  static void wait_until_stopped(pid_t pid) {
    for (int i = 0; i < 500; ++i) {
      std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
      std::string line;
      std::getline(file, line);
      if (line.find(") T ") != std::string::npos) return;
      std::this_thread::sleep_for(10ms);
    }
    ADD_FAILURE() << "the shim does not stop";
  }

  std::unique_ptr<TestDaemon> daemon;
};

TEST_F(RealShim, RunsAContainerToItsEndAndTellsOfItOnce) {
  add_container("short", {"sh", "-c", "echo hello; exit 7"});
  const std::string output = daemon->folder / "output";
  ASSERT_EQ(::mkfifo(output.c_str(), 0600), 0);
  const UniqueFd reader(::open(output.c_str(), O_RDWR | O_CLOEXEC));
  const Status created = create("short", output);
  ASSERT_TRUE(created.ok()) << created.to_string();
  EXPECT_EQ(create("short").code(), Code::kAlreadyExists);
  EXPECT_EQ(status_of("short"), containerd::v1::types::CREATED);
  struct stat found {};
  ASSERT_EQ(::stat(daemon->bundle("short").c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777, 0700u);

  auto waiting = daemon->wait("short");
  ASSERT_TRUE(start("short").ok());
  ASSERT_EQ(waiting.wait_for(20s), std::future_status::ready);
  const auto [waited, end] = waiting.get();
  ASSERT_TRUE(waited.ok()) << waited.to_string();
  EXPECT_EQ(end.exit_status(), 7u);
  EXPECT_GT(end.exited_at().seconds(), 1'700'000'000);
  EXPECT_EQ(start("short").code(), Code::kFailedPrecondition);
  EXPECT_EQ(daemon->wait("short").get().second.exit_status(), 7u);
  EXPECT_EQ(status_of("short"), containerd::v1::types::STOPPED);
  char text[16] = {};
  EXPECT_EQ(::read(reader.get(), text, sizeof text), 6);
  EXPECT_STREQ(text, "hello\n");

  uint32_t exit_status = 0;
  ASSERT_TRUE(remove("short", &exit_status).ok());
  EXPECT_EQ(exit_status, 7u);
  EXPECT_EQ(remove("short").code(), Code::kNotFound);
  EXPECT_EQ(daemon->events.wait_for(4),
            (std::vector<std::string>{"shim /tasks/create", "shim /tasks/start", "shim /tasks/exit",
                                      "shim /tasks/delete"}));
  expect_nothing_left("short");
}

TEST_F(RealShim, NameCanBeUsedAgainAtOnce) {
  add_container("again", {"sh", "-c", "exit 0"});
  for (int i = 0; i < 3; ++i) {
    const Status created = create("again");
    ASSERT_TRUE(created.ok()) << created.to_string();
    ASSERT_TRUE(start("again").ok());
    ASSERT_EQ(daemon->wait("again").get().second.exit_status(), 0u);
    ASSERT_TRUE(remove("again").ok());
  }
  EXPECT_EQ(daemon->events.wait_for(12).size(), 12u);
  expect_nothing_left("again");
}

TEST_F(RealShim, LongLivedTaskAnswersEveryQuestion) {
  add_container("long", {"sh", "-c", "sleep 1000"});
  ASSERT_TRUE(create("long").ok());
  ASSERT_TRUE(start("long").ok());
  EXPECT_EQ(remove("long").code(), Code::kFailedPrecondition);
  EXPECT_EQ(status_of("long"), containerd::v1::types::RUNNING);

  tasks_api::ExecProcessRequest exec;
  exec.set_container_id("long");
  exec.set_exec_id("first");
  exec.mutable_spec()->set_type_url("types.containerd.io/opencontainers/runtime-spec/1/Process");
  exec.mutable_spec()->set_value(process({"sh", "-c", "exit 3"}).dump());
  google::protobuf::Empty empty;
  ASSERT_TRUE(daemon->tasks->Exec(daemon->context, exec, &empty).ok());
  EXPECT_EQ(daemon->tasks->Exec(daemon->context, exec, &empty).code(), Code::kAlreadyExists);
  auto waiting = daemon->wait("long", "first");
  ASSERT_TRUE(start("long", "first").ok());
  ASSERT_EQ(waiting.wait_for(20s), std::future_status::ready);
  EXPECT_EQ(waiting.get().second.exit_status(), 3u);
  tasks_api::DeleteProcessRequest delete_exec;
  delete_exec.set_container_id("long");
  delete_exec.set_exec_id("first");
  tasks_api::DeleteResponse deleted;
  ASSERT_TRUE(daemon->tasks->DeleteProcess(daemon->context, delete_exec, &deleted).ok());
  EXPECT_EQ(deleted.exit_status(), 3u);
  EXPECT_EQ(deleted.id(), "first");
  EXPECT_EQ(daemon->tasks->DeleteProcess(daemon->context, delete_exec, &deleted).code(),
            Code::kNotFound);

  tasks_api::ListTasksResponse list;
  ASSERT_TRUE(daemon->tasks->List(daemon->context, {}, &list).ok());
  ASSERT_EQ(list.tasks_size(), 1);
  EXPECT_EQ(list.tasks(0).id(), "long");
  EXPECT_EQ(list.tasks(0).status(), containerd::v1::types::RUNNING);
  Context elsewhere = Context().with_ns("elsewhere");
  ASSERT_TRUE(daemon->tasks->List(elsewhere, {}, &list).ok());
  tasks_api::ListPidsRequest pids_request;
  pids_request.set_container_id("long");
  tasks_api::ListPidsResponse pids;
  ASSERT_TRUE(daemon->tasks->ListPids(daemon->context, pids_request, &pids).ok());
  EXPECT_GE(pids.processes_size(), 1);
  tasks_api::MetricsRequest metrics_request;
  metrics_request.add_filters("id==long");
  tasks_api::MetricsResponse metrics;
  ASSERT_TRUE(daemon->tasks->Metrics(daemon->context, metrics_request, &metrics).ok());
  ASSERT_EQ(metrics.metrics_size(), 1);
  EXPECT_NE(metrics.metrics(0).data().type_url().find("Metrics"), std::string::npos);

  ASSERT_TRUE(kill_task("long", SIGKILL).ok());
  EXPECT_EQ(daemon->wait("long").get().second.exit_status(), 137u);
  ASSERT_TRUE(remove("long").ok());
  expect_nothing_left("long");
}

TEST_F(RealShim, KeepsTheWordsOfTheRuntimeAndLeavesNothing) {
  add_container("wrong", {"/no/such/program"});
  const Status status = create("wrong");
  EXPECT_EQ(status.code(), Code::kUnknown);
  EXPECT_NE(status.message().find("OCI runtime create failed"), std::string::npos)
      << status.message();
  EXPECT_NE(status.message().find("/no/such/program"), std::string::npos) << status.message();
  EXPECT_EQ(remove("wrong").code(), Code::kNotFound);
  expect_nothing_left("wrong");

  daemon->containers.records["wrong"].mutable_runtime()->set_name("io.example.none.v7");
  const Status missing = create("wrong");
  EXPECT_NE(missing.message().find("runtime \"io.example.none.v7\" binary not installed "
                                   "\"containerd-shim-none-v7\": file does not exist"),
            std::string::npos)
      << missing.message();
  expect_nothing_left("wrong");
}

TEST_F(RealShim, KilledShimEndsItsTaskWith137) {
  add_container("orphan", {"sh", "-c", "sleep 1000"});
  ASSERT_TRUE(create("orphan").ok());
  ASSERT_TRUE(start("orphan").ok());
  EXPECT_EQ(daemon->events.wait_for(2).size(), 2u);
  auto waiting = daemon->wait("orphan");
  ASSERT_GT(shim_pid("orphan"), 1);
  ASSERT_EQ(::kill(shim_pid("orphan"), SIGKILL), 0);
  ASSERT_EQ(waiting.wait_for(20s), std::future_status::ready);
  EXPECT_EQ(waiting.get().second.exit_status(), 137u);
  EXPECT_EQ(daemon->events.wait_for(4),
            (std::vector<std::string>{"shim /tasks/create", "shim /tasks/start",
                                      "runtime /tasks/exit", "runtime /tasks/delete"}));
  EXPECT_EQ(remove("orphan").code(), Code::kNotFound);
  expect_nothing_left("orphan");
}

// The container would run on, and nobody could make another of its name.
TEST_F(RealShim, WhatAShimWhoseDeleteHangsLeavesIsRemovedByTheRuntime) {
  const std::string program = daemon->folder / "hanging-shim";
  std::ofstream(program) << "#!/bin/sh\ncase \"$*\" in *delete*) exec sleep 1000;; esac\nexec " +
                                shim_folder() + "/containerd-shim-runc-v2 \"$@\"\n";
  std::filesystem::permissions(program, std::filesystem::perms::owner_all);
  daemon->stop();
  daemon->settings.launcher.delete_timeout = 3s;
  daemon->start();
  const std::string state = "/run/containerd/runc/default/wedged";
  const auto is_there = [](const std::string& path) { return ::access(path.c_str(), F_OK) == 0; };
  for (const bool frozen : {false, true}) {
    add_container("wedged", {"sh", "-c", "sleep 1000"});
    daemon->containers.records["wedged"].mutable_runtime()->set_name(program);
    ASSERT_TRUE(create("wedged").ok());
    ASSERT_TRUE(start("wedged").ok());
    const auto task = daemon->runtime->find(daemon->context, "wedged");
    const std::string process = "/proc/" + std::to_string((*task)->pid());
    EXPECT_TRUE(is_there(state));
    if (frozen) {
      tasks_api::PauseTaskRequest request;
      request.set_container_id("wedged");
      google::protobuf::Empty empty;
      ASSERT_TRUE(daemon->tasks->Pause(daemon->context, request, &empty).ok());
    }
    auto waiting = daemon->wait("wedged");
    ASSERT_GT(shim_pid("wedged"), 1);
    ASSERT_EQ(::kill(shim_pid("wedged"), SIGKILL), 0);
    ASSERT_EQ(waiting.wait_for(30s), std::future_status::ready);
    EXPECT_EQ(waiting.get().second.exit_status(), 137u);
    expect_nothing_left("wedged");
    EXPECT_FALSE(is_there(state)) << daemon->logged();
    for (int i = 0; i < 500 && is_there(process); ++i) std::this_thread::sleep_for(10ms);
    EXPECT_FALSE(is_there(process));
    const std::string cgroup = "/berth-test-" + std::to_string(::getpid()) + "-wedged";
    EXPECT_FALSE(is_there("/sys/fs/cgroup/memory" + cgroup) || is_there("/sys/fs/cgroup" + cgroup));
  }
}

TEST_F(RealShim, RestartFindsTasksAndHowTheyEnded) {
  add_container("stays", {"sh", "-c", "sleep 1000"});
  add_container("ends", {"sh", "-c", "while [ ! -e /tmp/go ]; do sleep 0.05; done; exit 9"});
  add_container("dies", {"sh", "-c", "sleep 1000"});
  for (const char* id : {"stays", "ends", "dies"}) {
    ASSERT_TRUE(create(id).ok()) << id;
    ASSERT_TRUE(start(id).ok()) << id;
  }
  EXPECT_EQ(daemon->events.wait_for(6).size(), 6u);
  const pid_t doomed = shim_pid("dies");
  ASSERT_GT(doomed, 1);
  daemon->stop();
  std::ofstream(daemon->folder / "rootfs/tmp/go") << "";
  ASSERT_EQ(::kill(doomed, SIGKILL), 0);
  EXPECT_EQ(daemon->events.wait_for(7).back(), "shim /tasks/exit");  // of the one that ended
  daemon->start();
  EXPECT_EQ(daemon->wait("ends").get().second.exit_status(), 9u);
  EXPECT_EQ(status_of("stays"), containerd::v1::types::RUNNING);
  const auto events = daemon->events.wait_for(9);
  ASSERT_EQ(events.size(), 9u);
  EXPECT_EQ(events[7], "runtime /tasks/exit");
  EXPECT_EQ(events[8], "runtime /tasks/delete");
  EXPECT_NE(daemon->events.details()[7].find("exit_status: 137"), std::string::npos)
      << daemon->events.details()[7];
  EXPECT_EQ(remove("dies").code(), Code::kNotFound);
  expect_gone("dies");
  uint32_t exit_status = 0;
  ASSERT_TRUE(remove("ends", &exit_status).ok());
  EXPECT_EQ(exit_status, 9u);
  ASSERT_TRUE(kill_task("stays", SIGTERM).ok() && kill_task("stays", SIGKILL).ok());
  EXPECT_TRUE(daemon->wait("stays").get().first.ok());
  ASSERT_TRUE(remove("stays").ok());
  expect_nothing_left("stays");
}

TEST_F(RealShim, StoppedShimHoldsNobodyUp) {
  for (const char* id : {"awake", "asleep"}) {
    add_container(id, {"sh", "-c", "sleep 1000"});
    ASSERT_TRUE(create(id).ok()) << id;
    ASSERT_TRUE(start(id).ok()) << id;
  }
  const pid_t asleep = shim_pid("asleep");
  daemon->stop();
  ASSERT_EQ(::kill(asleep, SIGSTOP), 0);
  const Cleanup wake([&] { ::kill(asleep, SIGCONT); });
  wait_until_stopped(asleep);
  daemon->settings.reconnect_timeout = 1500ms;
  daemon->settings.timeouts.state = 300ms;
  const auto before = std::chrono::steady_clock::now();
  daemon->start();
  EXPECT_LT(std::chrono::steady_clock::now() - before, 1000ms);
  EXPECT_EQ(status_of("awake"), containerd::v1::types::RUNNING);
  tasks_api::ListTasksResponse list;
  ASSERT_TRUE(daemon->tasks->List(daemon->context, {}, &list).ok());
  ASSERT_EQ(list.tasks_size(), 2);
  EXPECT_EQ(list.tasks(0).status(), containerd::v1::types::UNKNOWN);
  EXPECT_EQ(list.tasks(1).status(), containerd::v1::types::RUNNING);
  tasks_api::GetRequest request;
  request.set_container_id("asleep");
  tasks_api::GetResponse response;
  const Status silent = daemon->tasks->Get(daemon->context, request, &response);
  EXPECT_EQ(silent.code(), Code::kDeadlineExceeded);
  EXPECT_NE(silent.message().find("default/asleep did not answer State"), std::string::npos)
      << silent.message();
  EXPECT_TRUE(eventually([&] {
    return daemon->logged().find("the shim of task default/asleep is alive and does not answer") !=
           std::string::npos;
  })) << daemon->logged();
  ASSERT_EQ(::kill(asleep, SIGCONT), 0);
  EXPECT_EQ(status_of("asleep"), containerd::v1::types::RUNNING);
}

}  // namespace
}  // namespace berth::runtime
