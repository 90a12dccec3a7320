// A shim that is stopped: nobody else is to notice. A container that is frozen: it ends all the
// same.
#include <google/protobuf/empty.pb.h>
#include <signal.h>

#include <filesystem>
#include <stdexcept>
#include <thread>

#include "containerd/services/tasks/v1/tasks.pb.h"
#include "rounds.h"

namespace berth::crash {
namespace {

namespace api = containerd::services::tasks::v1;
using Clock = std::chrono::steady_clock;

// Less than the shim's `delete` waits for what it has killed.
constexpr auto kThawPatience = std::chrono::seconds(2);
constexpr auto kListPatience = std::chrono::seconds(5);

pid_t shim_of(const std::string& id) {
  for (const pid_t pid : descendants()) {
    const std::string words = command_line(pid);
    if (words.find("containerd-shim-runc-v2 ") != std::string::npos &&
        words.find(" -id " + id + " ") != std::string::npos) {
      return pid;
    }
  }
  throw std::runtime_error("there is no shim of " + id);
}

void expect(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error("with a stopped shim, " + what);
}

}  // namespace

void Rounds::orphan_start() {
  const std::string point = "shim.bootstrap.addressed";
  const auto exists = [&] {
    return std::filesystem::exists(daemon_->fault_folder() + "/" + point);
  };
  armed_ = false;
  std::thread killer([&] {
    const auto end = Clock::now() + std::chrono::seconds(20);
    // Not for the file: it may be taken before anybody has seen it.
    while (!armed_ && Clock::now() < end) std::this_thread::sleep_for(milliseconds(1));
    while (exists() && Clock::now() < end) std::this_thread::sleep_for(milliseconds(1));
    daemon_->kill();
  });
  try {
    run({{point, "wait 400"}, {"daemon.discard.begin", "wait 800"}}, Victim::kNobody);
  } catch (...) {
    killer.join();
    throw;
  }
  killer.join();
  if (!still_armed(daemon_->fault_folder()).empty()) {
    throw std::runtime_error("no daemon died while a shim was started");
  }
}

void Rounds::kill_shims_of_frozen() {
  for (size_t i = 0; i < 4; ++i) {
    const bool crun = i >= 2;
    const bool started = i % 2 == 0;
    if (crun && !settings_.with_crun) return;
    const auto container = make(81 + i, crun ? "crun" : "runc");
    const std::string id = "c" + std::to_string(81 + i);
    container->begin(started);
    if (!freeze(daemon_->space() + "/" + id)) throw std::runtime_error("cannot freeze " + id);
    const auto began = Clock::now();
    ::kill(shim_of(id), SIGKILL);
    const uint32_t status = container->await_burial();
    const auto took = std::chrono::duration_cast<milliseconds>(Clock::now() - began);
    if (status != 128 + SIGKILL || took > kThawPatience) {
      throw std::runtime_error(std::string("a frozen container of ") + (crun ? "crun" : "runc") +
                               (started ? "" : " that was not started") + " ended with " +
                               std::to_string(status) + " after " + std::to_string(took.count()) +
                               " ms");
    }
    check_leaks();
  }
}

void Rounds::freeze_one() {
  const std::string id = "c80";
  const auto frozen = make(80);
  frozen->begin();
  const uint32_t process = frozen->pid();
  const std::set<std::string> before = traces_before_;
  traces_before_ = traces(daemon_->folder(), daemon_->space(), daemon_->pid());
  const auto restart = [this] {
    const size_t starts = daemon_->ready_times().size();
    const int life = daemon_->life();
    daemon_->kill();
    while (daemon_->ready_times().size() == starts) std::this_thread::sleep_for(milliseconds(5));
    expect(daemon_->life() == life + 1, "the daemon starts once");
    return daemon_->ready_times().back();
  };
  const auto get = [&] {
    api::GetRequest request;
    request.set_container_id(id);
    return daemon_->client().call<api::GetResponse>("containerd.services.tasks.v1.Tasks/Get",
                                                    request);
  };
  const double usual = restart();
  const pid_t shim = shim_of(id);
  ::kill(shim, SIGSTOP);
  const double with_frozen = restart();
  // The daemon gives shims two seconds to tell their state; it is not to wait for them.
  expect(with_frozen < 2 * usual + 800, "the daemon took " + std::to_string(with_frozen) +
                                            " ms to be ready, and " + std::to_string(usual) +
                                            " ms before");
  run({}, Victim::kNobody);

  for (int i = 0; i < 2; ++i) {
    const auto began = Clock::now();
    const auto tasks = daemon_->client().call<api::ListTasksResponse>(
        "containerd.services.tasks.v1.Tasks/List", api::ListTasksRequest());
    const auto took = Clock::now() - began;
    expect(tasks.ok() && took < kListPatience, "tasks are listed");
    expect(i == 0 || took < milliseconds(1500), "the second list does not wait for it again");
    bool unknown = false;
    for (const auto& task : tasks.value.tasks()) {
      const bool is_unknown = task.status() == containerd::v1::types::UNKNOWN;
      expect(is_unknown == (task.id() == id), "the list has its state as unknown, and no other");
      unknown = unknown || is_unknown;
    }
    expect(unknown, "the list has its task");
  }
  const auto answer = get();
  const std::string words = answer.status.error_message();
  expect(answer.code() == grpc::StatusCode::DEADLINE_EXCEEDED &&
             words.find("(pid " + std::to_string(shim) + ")") != std::string::npos &&
             words.find("is stopped") != std::string::npos,
         "a client is told: " + words);
  api::KillRequest kill;
  kill.set_container_id(id);
  kill.set_signal(SIGWINCH);  // it may arrive when the shim goes on, and does no harm
  const auto began = Clock::now();
  const auto killed = daemon_->client().call<google::protobuf::Empty>(
      "containerd.services.tasks.v1.Tasks/Kill", kill, std::chrono::seconds(60));
  expect(killed.code() == grpc::StatusCode::DEADLINE_EXCEEDED &&
             Clock::now() - began < std::chrono::seconds(10),
         "an action gives up soon: " + killed.status.error_message());

  ::kill(shim, SIGCONT);
  const auto end = Clock::now() + std::chrono::seconds(10);
  while (!get().ok() && Clock::now() < end) std::this_thread::sleep_for(milliseconds(50));
  expect(get().ok() && get().value.process().pid() == process, "after SIGCONT it is as before");
  expect(frozen->finish() == 42, "after SIGCONT its container ends as it should");
  traces_before_ = before;
  check_leaks();
}

}  // namespace berth::crash
