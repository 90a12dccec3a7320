// How a shim ends that has something left to tell.
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <vector>

#include "containerd/runtime/task/v3/shim.pb.h"
#include "service.h"

namespace berth::shim {
namespace {

namespace task = containerd::task::v3;
using std::chrono::steady_clock;

// What outlives a test, since workers of a service may.
struct World {
  std::mutex mutex;
  std::condition_variable changed;
  bool away = true;  // the daemon is starting and takes nothing
  int asked = 0;
  int taken = 0;
  int ended = 0;
  bool socket_at_end = false;

  bool wait(const std::function<bool()>& reached, int seconds = 10) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(seconds), reached);
  }
};

/// What is in it stays until the program ends.
template <typename T>
T* keep(std::unique_ptr<T> one) {
  static auto& all = *new std::vector<std::unique_ptr<T>>;
  all.push_back(std::move(one));
  return all.back().get();
}

class ShutdownTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/berth-shim-shutdown-XXXXXX";
    folder_ = ::mkdtemp(name);
    loop_ = *ttrpc::Loop::start();
    daemon_ = *ttrpc::Server::serve(loop_, *ttrpc::listen_unix(folder_ + "/d", 0600),
                                    [this](const ttrpc::Request&, const ttrpc::Responder& to) {
                                      const std::lock_guard lock(world_.mutex);
                                      ++world_.asked;
                                      world_.changed.notify_all();
                                      if (world_.away) return to.finish(unavailable("starting"));
                                      ++world_.taken;
                                      to.finish({});
                                    });
    publisher_ = std::make_shared<Publisher>(loop_, folder_ + "/d", "ns");
    World* const world = &world_;
    service_ = keep(std::make_unique<Service>(
        loop_, publisher_, Service::Settings{"ns", socket(), [world, path = socket()] {
                                               const std::lock_guard lock(world->mutex);
                                               ++world->ended;
                                               world->socket_at_end = std::filesystem::exists(path);
                                               world->changed.notify_all();
                                             }}));
    server_ = *ttrpc::Server::serve(loop_, *ttrpc::listen_unix(socket(), 0600),
                                    [this](ttrpc::Request request, ttrpc::Responder to) {
                                      service_->handle(std::move(request), std::move(to));
                                    });
    client_ = *ttrpc::Client::connect(loop_, socket());
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string socket() const { return folder_ + "/s"; }

  template <typename Request>
  Status call(const char* method, const Request& request) {
    std::string ignored;
    ttrpc::CallOptions options;
    options.deadline_ns = ttrpc::monotonic_ns() + 20'000'000'000;
    return client_->call("containerd.task.v3.Task", method, request.SerializeAsString(), options,
                         &ignored);
  }
  void shut_down(bool now, std::function<void(const Status&)> answered) {
    task::ShutdownRequest request;
    request.set_now(now);
    client_->call_async("containerd.task.v3.Task", "Shutdown", request.SerializeAsString(), {},
                        [answered](const Status& status, const std::string&) { answered(status); });
  }
  void come_back() {
    const std::lock_guard lock(world_.mutex);
    world_.away = false;
  }

  std::string folder_;
  World& world_ = *keep(std::make_unique<World>());
  std::shared_ptr<ttrpc::Loop> loop_;
  std::shared_ptr<Publisher> publisher_;
  Service* service_ = nullptr;
  std::unique_ptr<ttrpc::Server> daemon_, server_;
  std::shared_ptr<ttrpc::Client> client_;
};

TEST_F(ShutdownTest, TheSocketStaysUntilEverythingIsTold) {
  publisher_->publish("/tasks/exit", "x.Y", "");
  ASSERT_TRUE(world_.wait([&] { return world_.asked >= 3; }));
  bool answered = false;
  shut_down(true, [&](const Status&) {
    const std::lock_guard lock(world_.mutex);
    answered = true;
    world_.changed.notify_all();
  });
  EXPECT_FALSE(world_.wait([&] { return answered || world_.ended > 0; }, 1));
  EXPECT_TRUE(std::filesystem::exists(socket()));
  come_back();
  EXPECT_TRUE(world_.wait([&] { return answered && world_.ended == 1; }));
  EXPECT_EQ(world_.taken, 1);
  EXPECT_FALSE(world_.socket_at_end);
}

TEST_F(ShutdownTest, WithoutADaemonItEndsAfterSeconds) {
  publisher_->publish("/tasks/exit", "x.Y", "");
  shut_down(true, [](const Status&) {});
  EXPECT_TRUE(world_.wait([&] { return world_.ended == 1; }));
  EXPECT_EQ(world_.taken, 0);
  EXPECT_FALSE(std::filesystem::exists(socket()));
}

TEST_F(ShutdownTest, NoTaskIsMadeByAShimThatLeaves) {
  bool answered = false;
  shut_down(false, [&](const Status&) {
    const std::lock_guard lock(world_.mutex);
    answered = true;
    world_.changed.notify_all();
  });
  ASSERT_TRUE(world_.wait([&] { return answered && world_.ended == 1; }));
  task::CreateTaskRequest request;
  request.set_id("late");
  EXPECT_EQ(call("Create", request).code(), Code::kUnavailable);
}

TEST_F(ShutdownTest, ADaemonThatCallsIsToldAtOnce) {
  publisher_->publish("/tasks/exit", "x.Y", "");
  // From here on it waits for 1.6 s or longer.
  ASSERT_TRUE(world_.wait([&] { return world_.asked >= 6; }));
  come_back();
  const auto begin = steady_clock::now();
  task::StateRequest request;
  request.set_id("none");
  EXPECT_EQ(call("State", request).code(), Code::kNotFound);
  EXPECT_TRUE(world_.wait([&] { return world_.taken == 1; }));
  EXPECT_LT(steady_clock::now() - begin, std::chrono::milliseconds(800));
  // And once only: the pause that was cut short does not end a second time.
  EXPECT_FALSE(world_.wait([&] { return world_.taken > 1; }, 3));
}

}  // namespace
}  // namespace berth::shim
