// The runtime against a shim that the test plays itself: what no well-behaved shim lets one see.
#include <signal.h>
#include <sys/stat.h>

#include <functional>
#include <set>

#include "containerd/types/runc/options/oci.pb.h"
#include "testing.h"

namespace berth::runtime {
namespace {

using namespace std::chrono_literals;
using ::testing::Test;

// Serves the task service on a socket. Unset methods are answered with an empty message.
class FakeShim {
 public:
  using Method =
      std::function<void(const ttrpc::Request& request, const ttrpc::Responder& responder)>;

  FakeShim(const std::shared_ptr<ttrpc::Loop>& loop, const std::string& path) : loop_(loop) {
    auto listening = ttrpc::listen_unix(path, 0600);
    EXPECT_TRUE(listening.ok()) << listening.status().to_string();
    auto server = ttrpc::Server::serve(
        loop, std::move(*listening), [this](ttrpc::Request request, ttrpc::Responder responder) {
          Method method;
          {
            const std::lock_guard lock(mutex_);
            calls_.push_back(request.service + "/" + request.method);
            for (const auto& [key, value] : request.metadata) metadata_[key] = value;
            if (request.method == "Wait" && !methods_.contains("Wait")) {
              return waiting_.push_back(std::move(responder));  // as long as the process lives
            }
            if (const auto found = methods_.find(request.method); found != methods_.end())
              method = found->second;
          }
          if (method) return method(request, responder);
          responder.finish({}, "");
        });
    EXPECT_TRUE(server.ok());
    server_ = std::move(*server);
  }
  /// A handler may still be running on the loop's thread when the server is gone.
  ~FakeShim() {
    server_.reset();
    std::promise<void> idle;
    loop_->post([&] { idle.set_value(); });
    idle.get_future().wait();
  }
  void on(const std::string& method, Method run) {
    const std::lock_guard lock(mutex_);
    methods_[method] = std::move(run);
  }
  void answer(const std::string& method, const Status& status,
              const google::protobuf::Message& message) {
    on(method, [status, bytes = message.SerializeAsString()](const ttrpc::Request&,
                                                             const ttrpc::Responder& responder) {
      responder.finish(status, bytes);
    });
  }
  /// The call is never answered; kept, since a dropped one is.
  void hang(const std::string& method) {
    on(method, [this](const ttrpc::Request&, const ttrpc::Responder& responder) {
      const std::lock_guard lock(mutex_);
      hanging_.push_back(responder);
    });
  }
  /// Answers all that hang(), and those that come.
  void end_hanging(const std::string& method, const Status& status) {
    std::vector<ttrpc::Responder> hanging;
    {
      const std::lock_guard lock(mutex_);
      hanging.swap(hanging_);
    }
    answer(method, status, google::protobuf::Empty());
    for (const auto& responder : hanging) responder.finish(status, "");
  }
  void end_process(uint32_t exit_status) {
    shim_api::WaitResponse response;
    response.set_exit_status(exit_status);
    response.mutable_exited_at()->set_seconds(1'700'000'000);
    std::vector<ttrpc::Responder> waiting;
    {
      const std::lock_guard lock(mutex_);
      waiting.swap(waiting_);
    }
    for (const auto& responder : waiting) responder.finish({}, response.SerializeAsString());
  }
  size_t count(const std::string& method) {
    const std::lock_guard lock(mutex_);
    size_t count = 0;
    for (const std::string& call : calls_) count += call.ends_with("/" + method);
    return count;
  }
  std::vector<std::string> calls() {
    const std::lock_guard lock(mutex_);
    return calls_;
  }
  std::string metadata(const std::string& key) {
    const std::lock_guard lock(mutex_);
    return metadata_[key];
  }

 private:
  const std::shared_ptr<ttrpc::Loop> loop_;
  std::mutex mutex_;
  std::vector<std::string> calls_;
  std::map<std::string, std::string> metadata_;
  std::map<std::string, Method> methods_;
  std::vector<ttrpc::Responder> waiting_;
  std::vector<ttrpc::Responder> hanging_;
  std::unique_ptr<ttrpc::Server> server_;
};

class TasksTest : public Test {
 protected:
  void SetUp() override {
    daemon = std::make_unique<TestDaemon>(std::vector<std::string>{});
    daemon->stop();
    daemon->settings.launcher.shim_path = {daemon->folder.path()};
    daemon->settings.timeouts.state = 200ms;
    daemon->settings.timeouts.shutdown = 200ms;
    daemon->settings.launcher.delete_timeout = 2s;
    daemon->settings.reconnect_timeout = 300ms;
    daemon->start();
    shim = std::make_unique<FakeShim>(daemon->loop, daemon->folder / "shim.sock");
    install(R"({"version":3,"address":"unix://)" + (daemon->folder / "shim.sock") +
            R"(","protocol":"ttrpc"})");
    add_container("c1");
    shim_api::CreateTaskResponse created;
    created.set_pid(4242);
    shim->answer("Create", {}, created);
  }
  void TearDown() override {
    shim.reset();
    daemon.reset();
  }

  // A program that prints `answer` on start and, on delete, a DeleteResponse of pid 4242 and status
  // 137.
  void install(const std::string& answer) {
    const std::string path = daemon->folder / "containerd-shim-fake-v1";
    std::ofstream(path)
        << "#!/bin/sh\n[ \"$1\" = -v ] && exit 0\nfor last; do :; done\necho $last >> "
        << (daemon->folder / "actions") << "\ncase $last in\nstart) echo '" << answer
        << "' ;;\ndelete) printf '\\010\\222\\041\\020\\211\\001' ;;\nesac\n";
    ::chmod(path.c_str(), 0755);
  }
  void add_container(const std::string& id) {
    auto& record = daemon->containers.records[id];
    record.set_id(id);
    record.mutable_runtime()->set_name("io.containerd.fake.v1");
    record.mutable_spec()->set_value("{}");
  }
  std::string actions() {
    std::ifstream file(daemon->folder / "actions");
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }
  Status create(const std::string& id = "c1") {
    tasks_api::CreateTaskRequest request;
    request.set_container_id(id);
    tasks_api::CreateTaskResponse response;
    return daemon->tasks->Create(daemon->context, request, &response);
  }
  Status remove(tasks_api::DeleteResponse* response, const std::string& id = "c1") {
    tasks_api::DeleteTaskRequest request;
    request.set_container_id(id);
    return daemon->tasks->Delete(daemon->context, request, response);
  }
  Status get(tasks_api::GetResponse* response) {
    tasks_api::GetRequest request;
    request.set_container_id("c1");
    return daemon->tasks->Get(daemon->context, request, response);
  }

  std::unique_ptr<TestDaemon> daemon;
  std::unique_ptr<FakeShim> shim;
};

TEST_F(TasksTest, SpeaksTheServiceThatTheShimAnnounces) {
  ASSERT_TRUE(create().ok());
  EXPECT_EQ(shim->calls().front(), "containerd.task.v3.Task/Create");
  EXPECT_EQ(shim->metadata("containerd-namespace-ttrpc"), "default");
  const Bundle bundle(daemon->settings.roots, {"default", "c1"});
  EXPECT_EQ(*bundle.read("shim-binary-path"), daemon->folder / "containerd-shim-fake-v1");
  EXPECT_TRUE(read_bootstrap(bundle).ok());
  EXPECT_EQ(*bundle.read("address"), "unix://" + (daemon->folder / "shim.sock"));
}

TEST_F(TasksTest, FallsBackToTheServiceOfAnOlderShim) {
  shim->on("Create", [](const ttrpc::Request& request, const ttrpc::Responder& responder) {
    if (request.service == "containerd.task.v3.Task")
      return responder.finish(unimplemented("no such service"));
    responder.finish({}, "");
  });
  ASSERT_TRUE(create().ok());
  tasks_api::GetResponse response;
  ASSERT_TRUE(get(&response).ok());
  EXPECT_EQ(shim->calls().back(), "containerd.task.v2.Task/State");
}

TEST_F(TasksTest, FailureOfCreateKeepsCodeAndTextAndLeavesNothing) {
  shim->answer("Create", unknown_error("OCI runtime create failed: no luck: unknown"),
               shim_api::CreateTaskResponse());
  shim->answer("Delete", not_found("container not created: not found"), shim_api::DeleteResponse());
  const Status status = create();
  EXPECT_EQ(status.code(), Code::kUnknown);
  EXPECT_EQ(status.message(),
            "failed to create shim task: OCI runtime create failed: no luck: unknown");
  EXPECT_EQ(shim->count("Shutdown"), 1u);
  EXPECT_FALSE(std::filesystem::exists(daemon->bundle("c1")));
  EXPECT_TRUE(daemon->events.wait_for(0).empty());
  EXPECT_EQ(actions(), "start\n");
  shim->answer("Create", {}, shim_api::CreateTaskResponse());
  EXPECT_TRUE(create().ok());
}

TEST_F(TasksTest, ShimThatCannotBeReachedIsCleanedUpByItsProgram) {
  shim.reset();
  const Status status = create();
  EXPECT_EQ(status.code(), Code::kUnavailable) << status.to_string();
  EXPECT_EQ(actions(), "start\ndelete\n");
  EXPECT_FALSE(std::filesystem::exists(daemon->bundle("c1")));
}

TEST_F(TasksTest, SilentShimIsNamedAndHoldsNobodyLongerThanItsTime) {
  shim_api::ConnectResponse connected;
  connected.set_shim_pid(777);
  shim->answer("Connect", {}, connected);
  ASSERT_TRUE(create().ok());
  ASSERT_TRUE(eventually(
      [&] { return (*daemon->runtime->find(daemon->context, "c1"))->shim()->pid() == 777; }));
  shim->hang("State");
  tasks_api::GetResponse response;
  const Status status = get(&response);
  EXPECT_EQ(status.code(), Code::kDeadlineExceeded);
  EXPECT_EQ(status.message(),
            "the shim (pid 777) of task default/c1 did not answer State within 200ms or the "
            "caller's deadline");
  shim->hang("Kill");
  tasks_api::KillRequest kill;
  kill.set_container_id("c1");
  google::protobuf::Empty empty;
  Context hurried = daemon->context.with_timeout(50ms);
  EXPECT_EQ(daemon->tasks->Kill(hurried, kill, &empty).code(), Code::kDeadlineExceeded);
  tasks_api::ListTasksResponse list;
  ASSERT_TRUE(daemon->tasks->List(daemon->context, {}, &list).ok());
  ASSERT_EQ(list.tasks_size(), 1);
  EXPECT_EQ(list.tasks(0).pid(), 4242u);
  EXPECT_EQ(list.tasks(0).status(), containerd::v1::types::UNKNOWN);
}

TEST_F(TasksTest, ManyWaitersAreOneQuestionAndNoThread) {
  ASSERT_TRUE(create().ok());
  ASSERT_TRUE(eventually([&] { return shim->count("Wait") == 1; }));
  const auto threads = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/task"),
                         std::filesystem::directory_iterator());
  };
  const auto before = threads();
  std::vector<std::future<std::pair<Status, tasks_api::WaitResponse>>> waiting;
  for (int i = 0; i < 50; ++i) waiting.push_back(daemon->wait("c1"));
  EXPECT_LE(threads(), before);
  EXPECT_EQ(shim->count("Wait"), 1u);
  shim->end_process(5);
  for (auto& one : waiting) {
    ASSERT_EQ(one.wait_for(10s), std::future_status::ready);
    EXPECT_EQ(one.get().second.exit_status(), 5u);
  }
  EXPECT_EQ(daemon->wait("c1").get().second.exited_at().seconds(), 1'700'000'000);
  EXPECT_EQ(daemon->wait("other").get().first.code(), Code::kNotFound);
}

TEST_F(TasksTest, WaitingCanBeGivenUp) {
  ASSERT_TRUE(create().ok());
  for (const char* exec_id : {"", "exec1"}) {
    tasks_api::WaitRequest request;
    request.set_container_id("c1");
    request.set_exec_id(exec_id);
    std::promise<Status> ended;
    const auto give_up = daemon->tasks->wait(
        daemon->context, request,
        [&](const Status& status, const tasks_api::WaitResponse&) { ended.set_value(status); });
    ASSERT_TRUE(give_up) << exec_id;
    give_up();
    EXPECT_EQ(ended.get_future().get().code(), Code::kCancelled) << exec_id;
    give_up();
  }
}

TEST_F(TasksTest, DeathOfTheShimEndsTaskAndExecs) {
  ASSERT_TRUE(create().ok());
  auto task = daemon->wait("c1");
  auto exec = daemon->wait("c1", "exec1");
  shim.reset();
  ASSERT_EQ(task.wait_for(10s), std::future_status::ready);
  EXPECT_EQ(task.get().second.exit_status(), 137u);
  ASSERT_EQ(exec.wait_for(10s), std::future_status::ready);
  EXPECT_EQ(exec.get().second.exit_status(), 137u);
  EXPECT_EQ(daemon->events.wait_for(2),
            (std::vector<std::string>{"runtime /tasks/exit", "runtime /tasks/delete"}));
  EXPECT_NE(daemon->events.details()[0].find("pid: 4242 exit_status: 137"), std::string::npos);
  EXPECT_EQ(actions(), "start\ndelete\n");
  EXPECT_TRUE(eventually([&] { return !std::filesystem::exists(daemon->bundle("c1")); }));
  tasks_api::DeleteResponse response;
  EXPECT_EQ(remove(&response).code(), Code::kNotFound);
}

TEST_F(TasksTest, EndThatTheShimHasToldIsNotToldAgainAfterItsDeath) {
  ASSERT_TRUE(create().ok());
  auto waiting = daemon->wait("c1");
  ASSERT_TRUE(eventually([&] { return shim->count("Wait") == 1; }));
  shim->end_process(3);
  EXPECT_EQ(waiting.get().second.exit_status(), 3u);
  shim.reset();
  EXPECT_EQ(daemon->events.wait_for(1), std::vector<std::string>{"runtime /tasks/delete"});
  EXPECT_NE(daemon->events.details()[0].find("exit_status: 3"), std::string::npos);
}

TEST_F(TasksTest, DeleteOfARunningTaskIsAFailedPrecondition) {
  ASSERT_TRUE(create().ok());
  shim->answer("Delete", unknown_error("cannot delete a running process"),
               shim_api::DeleteResponse());
  tasks_api::DeleteResponse response;
  const Status status = remove(&response);
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_NE(status.message().find("running"), std::string::npos);
  EXPECT_EQ(shim->count("Shutdown"), 0u);
  EXPECT_TRUE(daemon->runtime->find(daemon->context, "c1").ok());
}

TEST_F(TasksTest, ShimIsDismissedOnlyAfterItsLastEvent) {
  ASSERT_TRUE(create().ok());
  shim_api::DeleteResponse deleted;
  deleted.set_exit_status(1);
  deleted.mutable_exited_at()->set_seconds(1'700'000'000);
  shim->answer("Delete", {}, deleted);
  tasks_api::DeleteResponse response;
  ASSERT_TRUE(remove(&response).ok());
  EXPECT_EQ(response.exit_status(), 1u);
  EXPECT_EQ(response.exited_at().seconds(), 1'700'000'000);
  EXPECT_FALSE(daemon->runtime->find(daemon->context, "c1").ok());
  std::this_thread::sleep_for(50ms);
  EXPECT_EQ(shim->count("Shutdown"), 0u);
  daemon->runtime->deletion_announced({"default", "c1"});
  EXPECT_TRUE(eventually([&] { return shim->count("Shutdown") == 1; }));
  EXPECT_TRUE(create().ok());  // waits for the name
}

// The shim's death after the deletion is no news: the runtime announces nothing of its own.
TEST_F(TasksTest, ShimThatEndsByItselfAfterItsTaskIsNotBuried) {
  ASSERT_TRUE(create().ok());
  shim_api::DeleteResponse deleted;
  deleted.set_exit_status(1);
  shim->answer("Delete", {}, deleted);
  tasks_api::DeleteResponse response;
  ASSERT_TRUE(remove(&response).ok());
  shim.reset();
  std::this_thread::sleep_for(300ms);
  EXPECT_TRUE(daemon->events.wait_for(0).empty());
  EXPECT_EQ(actions(), "start\n");
}

TEST_F(TasksTest, CheckpointGoesIntoTheContentStoreOrIntoADirectory) {
  ASSERT_TRUE(create().ok());
  std::string path;
  shim->on("Checkpoint", [&](const ttrpc::Request& request, const ttrpc::Responder& responder) {
    shim_api::CheckpointTaskRequest checkpoint;
    EXPECT_TRUE(checkpoint.ParseFromString(request.payload));
    path = checkpoint.path();
    std::ofstream(path + "/inventory.img") << "x";
    responder.finish({}, "");
  });
  tasks_api::CheckpointTaskRequest request;
  request.set_container_id("c1");
  tasks_api::CheckpointTaskResponse response;
  const Status stored = daemon->tasks->Checkpoint(daemon->context, request, &response);
  ASSERT_TRUE(stored.ok()) << stored.to_string();
  EXPECT_EQ(daemon->checkpoints.files, std::vector<std::string>{"inventory.img"});
  google::protobuf::Any spec;
  ASSERT_TRUE(spec.ParseFromString(daemon->checkpoints.spec));
  EXPECT_EQ(spec.value(), daemon->containers.records["c1"].spec().value());
  ASSERT_EQ(response.descriptors_size(), 2);  // in this order
  EXPECT_EQ(response.descriptors(0).digest(), "sha256:files of checkpoint-c1");
  EXPECT_EQ(response.descriptors(1).digest(), "sha256:spec of checkpoint-c1-spec");
  EXPECT_FALSE(std::filesystem::exists(path)) << "the copy in the content store is enough";

  containerd::runc::v1::CheckpointOptions options;
  options.set_image_path(daemon->folder.path());
  request.mutable_options()->set_type_url("containerd.runc.v1.CheckpointOptions");
  request.mutable_options()->set_value(options.SerializeAsString());
  response.Clear();
  ASSERT_TRUE(daemon->tasks->Checkpoint(daemon->context, request, &response).ok());
  EXPECT_EQ(path, daemon->folder.path());
  EXPECT_EQ(response.descriptors_size(), 0);
}

TEST_F(TasksTest, TaskIsCreatedFromACheckpointOfTheContentStore) {
  std::string path;
  std::string page;
  shim->on("Create", [&](const ttrpc::Request& request, const ttrpc::Responder& responder) {
    shim_api::CreateTaskRequest create;
    EXPECT_TRUE(create.ParseFromString(request.payload));
    path = create.checkpoint();
    std::getline(std::ifstream(path + "/pages-1.img"), page);
    responder.finish({}, "");
  });
  tasks_api::CreateTaskRequest request;
  request.set_container_id("c1");
  request.mutable_checkpoint()->set_digest("sha256:unknown");
  tasks_api::CreateTaskResponse response;
  const Status missing = daemon->tasks->Create(daemon->context, request, &response);
  EXPECT_EQ(missing.code(), Code::kNotFound);
  EXPECT_NE(missing.message().find("create task c1 from checkpoint sha256:unknown"),
            std::string::npos)
      << missing.message();
  EXPECT_FALSE(std::filesystem::exists(daemon->bundle("c1")));

  request.mutable_checkpoint()->set_digest("sha256:known");
  ASSERT_TRUE(daemon->tasks->Create(daemon->context, request, &response).ok());
  EXPECT_EQ(page, "memory");
  shim->answer("Delete", {}, shim_api::DeleteResponse());
  tasks_api::DeleteResponse removed;
  ASSERT_TRUE(remove(&removed).ok());
  EXPECT_TRUE(eventually([&] { return !std::filesystem::exists(path); }));
}

TEST_F(TasksTest, RequestsAreCheckedBeforeAnyShimIsAsked) {
  EXPECT_EQ(create("../../etc").code(), Code::kNotFound);  // no container can have that name
  EXPECT_EQ(create("unknown").code(), Code::kNotFound);
  Context nowhere;
  tasks_api::ListTasksResponse list;
  EXPECT_EQ(daemon->tasks->List(nowhere, {}, &list).code(), Code::kFailedPrecondition);
  ASSERT_TRUE(create().ok());
  EXPECT_EQ(create().code(), Code::kAlreadyExists);
  tasks_api::ExecProcessRequest exec;
  exec.set_container_id("c1");
  google::protobuf::Empty empty;
  EXPECT_EQ(daemon->tasks->Exec(daemon->context, exec, &empty).code(), Code::kInvalidArgument);
  exec.set_exec_id("../x");
  EXPECT_EQ(daemon->tasks->Exec(daemon->context, exec, &empty).code(), Code::kInvalidArgument);
  tasks_api::DeleteProcessRequest remove_exec;
  remove_exec.set_container_id("c1");
  tasks_api::DeleteResponse response;
  EXPECT_EQ(daemon->tasks->DeleteProcess(daemon->context, remove_exec, &response).code(),
            Code::kInvalidArgument);
  EXPECT_EQ(shim->count("Exec"), 0u);
  EXPECT_EQ(shim->count("Delete"), 0u);
}

TEST_F(TasksTest, ContainerOfASandboxJoinsItsShim) {
  ASSERT_TRUE(create().ok());
  add_container("c2");
  daemon->containers.records["c2"].set_sandbox("c1");
  ASSERT_TRUE(create("c2").ok());
  EXPECT_EQ(actions(), "start\n");
  EXPECT_EQ(shim->count("Create"), 2u);
  EXPECT_EQ(*Bundle(daemon->settings.roots, {"default", "c2"}).read("sandbox"), "c1");
}

TEST_F(TasksTest, RestartEndsAShimThatHasNoTask) {
  ASSERT_TRUE(create().ok());
  daemon->stop();
  shim->answer("State", not_found("container not created: not found"), shim_api::StateResponse());
  daemon->start();
  EXPECT_TRUE(eventually([&] { return !daemon->runtime->find(daemon->context, "c1").ok(); }));
  EXPECT_TRUE(eventually([&] { return !std::filesystem::exists(daemon->bundle("c1")); }));
  EXPECT_EQ(shim->count("Shutdown"), 1u);
  EXPECT_TRUE(daemon->events.wait_for(0).empty());
}

TEST_F(TasksTest, SilentShimWithoutATaskIsEndedWhenItSaysSo) {
  ASSERT_TRUE(create().ok());
  daemon->stop();
  shim->hang("State");
  daemon->start();
  ASSERT_TRUE(eventually([&] { return shim->count("State") == 2; }));
  EXPECT_TRUE(daemon->runtime->find(daemon->context, "c1").ok());
  shim->end_hanging("State", not_found("container not created: not found"));
  EXPECT_TRUE(eventually([&] { return !std::filesystem::exists(daemon->bundle("c1")); }));
  EXPECT_EQ(shim->count("Shutdown"), 1u);
  EXPECT_TRUE(daemon->events.wait_for(0).empty());
}

TEST_F(TasksTest, ShimThatDiesBeforeItIsConfirmedHasToldWhatItTold) {
  ASSERT_TRUE(create().ok());
  daemon->stop();
  const Bundle bundle(daemon->settings.roots, {"default", "c1"});
  ASSERT_TRUE(bundle.write("init.pid", "4711").ok());
  ASSERT_TRUE(bundle
                  .write("processes",
                         "started . 4711\nstarted e1 4712\n"
                         "ended e1 1 1700000000 1\nended . 3 1700000000 2\n")
                  .ok());
  shim->hang("State");
  daemon->start();
  ASSERT_TRUE(eventually([&] { return shim->count("State") == 1; }));
  daemon->runtime->end_told({"default", "c1"}, "e1", 4712);
  shim.reset();
  EXPECT_EQ(daemon->events.wait_for(2),
            (std::vector<std::string>{"runtime /tasks/exit", "runtime /tasks/delete"}));
  EXPECT_NE(daemon->events.details()[0].find("pid: 4711 exit_status: 3"), std::string::npos);
}

TEST_F(TasksTest, RestartWithManyDeadAndSilentShimsIsQuick) {
  shim_api::StateResponse state;
  state.set_pid(99);
  shim->answer("State", {}, state);
  ASSERT_TRUE(create().ok());
  daemon->stop();
  const auto silent = std::make_unique<FakeShim>(daemon->loop, daemon->folder / "silent.sock");
  silent->hang("State");
  for (int i = 0; i < 20; ++i) {
    for (const std::string& kind : {std::string("silent"), std::string("dead")}) {
      const std::string id = kind + std::to_string(i);
      const auto bundle = Bundle::create(daemon->settings.roots, {"default", id}, "{}");
      ASSERT_TRUE(bundle.ok());
      ASSERT_TRUE(
          bundle->write("shim-binary-path", daemon->folder / "containerd-shim-fake-v1").ok());
      ASSERT_TRUE(bundle->write("address", "unix://" + (daemon->folder / (kind + ".sock"))).ok());
      ASSERT_TRUE(bundle->write("init.pid", "4711").ok());
    }
  }
  daemon->settings.reconnect_timeout = 1500ms;
  const auto before = std::chrono::steady_clock::now();
  daemon->start();
  // Not even for as long as one of them may take.
  EXPECT_LT(std::chrono::steady_clock::now() - before, 1000ms);
  EXPECT_EQ(daemon->runtime->list("default").size(), 21u);
  EXPECT_TRUE(
      eventually([&] { return (*daemon->runtime->find(daemon->context, "c1"))->pid() == 99; }));
  EXPECT_TRUE(eventually([&] {
    return daemon->logged().find("default/silent7 is alive and does not answer") !=
           std::string::npos;
  }));
  const auto events = daemon->events.wait_for(40);  // an end and a deletion for each dead one
  EXPECT_EQ(std::count(events.begin(), events.end(), "runtime /tasks/exit"), 20);
  EXPECT_EQ(std::count(events.begin(), events.end(), "runtime /tasks/delete"), 20);
  EXPECT_TRUE(eventually([&] { return !std::filesystem::exists(daemon->bundle("dead19")); }));
}

}  // namespace
}  // namespace berth::runtime
