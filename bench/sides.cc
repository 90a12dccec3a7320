#include "sides.h"

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <random>
#include <stdexcept>

#include "machine.h"

namespace berth::bench {
namespace {

constexpr char kImage[] = "busybox";

class DaemonLife : public Life {
 public:
  DaemonLife(Client* client, const std::string& id, const Workload& workload)
      : client_(*client), id_(id), container_(id, workload) {}
  void make() override { container_.make(client_, kImage); }
  void create() override { container_.create_task(client_); }
  void start() override { container_.start(client_); }
  void wait() override {
    if (const uint32_t status = container_.wait(client_); status != 0) {
      throw std::runtime_error("the process of " + id_ + " ended with " + std::to_string(status));
    }
  }
  void kill() override { container_.kill(client_); }
  void remove() override { container_.delete_task(client_); }
  void unmake() override { container_.remove(client_); }
  void exec(const std::string& exec_id) override { container_.exec(client_, exec_id, {"true"}); }

 private:
  Client& client_;
  const std::string id_;
  Container container_;
};

class DaemonWorker : public Worker {
 public:
  explicit DaemonWorker(const DaemonProcess& daemon) : client_(daemon.address(), daemon.space()) {
    client_.answers();  // connects
  }
  std::unique_ptr<Life> life(const std::string& id, const Workload& workload) override {
    return std::make_unique<DaemonLife>(&client_, id, workload);
  }

 private:
  Client client_;
};

class DaemonSide : public Side {
 public:
  DaemonSide(const Settings& settings, Kind kind, bool own_shim)
      : filesystem_(settings.directory + "/" + tag(kind, own_shim)),
        daemon_(kind, kind == Kind::kBerth ? settings.berthd : settings.containerd,
                settings.directory + "/" + tag(kind, own_shim),
                settings.space + "-" + tag(kind, own_shim),
                own_shim ? settings.own_shim : settings.go_shim) {
    Client client(daemon_.address(), daemon_.space());
    unpack_busybox(client, find_program("busybox"), kImage);
    expect_shim(&client, own_shim ? settings.own_shim : settings.go_shim);
  }
  std::unique_ptr<Worker> worker() override { return std::make_unique<DaemonWorker>(daemon_); }
  double cpu_milliseconds() const override { return daemon_.cpu_milliseconds_of_all(); }
  const DaemonProcess* daemon() const override { return &daemon_; }

 private:
  static std::string tag(Kind kind, bool own_shim) {
    return std::string(name_of(kind)) + (own_shim ? "-own" : "-go");
  }

  /// A daemon that takes another shim than it was told would be compared with itself.
  void expect_shim(Client* client, const std::string& folder) const {
    DaemonLife life(client, "trial", {});
    life.make();
    life.create();
    const std::string program = daemon_.shim_program();
    life.start();
    life.kill();
    life.remove();
    life.unmake();
    if (std::error_code error;
        std::filesystem::path(program).parent_path() != std::filesystem::canonical(folder, error)) {
      throw std::runtime_error(std::string(name_of(daemon_.kind())) +
                               " was told to take the shim in " + folder + " and took " + program);
    }
  }

  FreshFilesystem filesystem_;
  DaemonProcess daemon_;
};

class BareLife : public Life {
 public:
  BareLife(const BareRuntime& place, const std::string& id, const Workload& workload)
      : container_(place, id, workload) {}
  void make() override { container_.make(); }
  void create() override { container_.create(); }
  void start() override { container_.start(); }
  void wait() override { container_.wait(); }
  void kill() override { container_.kill(); }
  void remove() override { container_.remove(); }
  void unmake() override { container_.unmake(); }
  void exec(const std::string& exec_id) override { container_.exec(exec_id); }

 private:
  BareContainer container_;
};

class BareWorker : public Worker {
 public:
  explicit BareWorker(const BareRuntime& place) : place_(place) {}
  std::unique_ptr<Life> life(const std::string& id, const Workload& workload) override {
    return std::make_unique<BareLife>(place_, id, workload);
  }

 private:
  const BareRuntime& place_;
};

class BareSide : public Side {
 public:
  explicit BareSide(const Settings& settings)
      : filesystem_(settings.directory + "/bare"),
        place_(settings.directory + "/bare", settings.space + "-bare") {}
  BareRuntime* place() { return &place_; }
  std::unique_ptr<Worker> worker() override { return std::make_unique<BareWorker>(place_); }
  double cpu_milliseconds() const override {
    return cpu_milliseconds_of(cpu_cgroup(place_.space()));
  }
  std::unique_ptr<CountedThread> counted() const override {
    const std::string group = cpu_cgroup(place_.space());
    return std::make_unique<CountedThread>(group.empty() ? group : group + "/driver");
  }

 private:
  FreshFilesystem filesystem_;
  BareRuntime place_;
};

}  // namespace

std::string needs_sides(const Settings& settings) {
  const std::string reason = needs_containers(settings);
  return reason.empty() ? needs_filesystem(settings) : reason;
}

std::vector<RuntimeProgram> usable_runtimes(const BareRuntime& place, const Settings& settings,
                                            Results* results) {
  std::vector<RuntimeProgram> found;
  for (const std::string& name : settings.runtimes) {
    const std::string path = find_program(name);
    const std::string reason = path.empty() ? "is not in PATH" : place.refuses(path);
    if (reason.empty()) {
      found.push_back({name, path});
    } else {
      results->note("Skipped: " + name + ": " + reason);
    }
  }
  return found;
}

std::unique_ptr<Side> start_side(const Settings& settings, Kind kind, bool own_shim) {
  return std::make_unique<DaemonSide>(settings, kind, own_shim);
}

Sides::Sides(const Settings& settings) {
  for (const Kind kind : {Kind::kBerth, Kind::kContainerd}) {
    for (const bool own_shim : {true, false}) {
      sides_.push_back(start_side(settings, kind, own_shim));
    }
  }
  auto bare = std::make_unique<BareSide>(settings);
  bare_ = bare->place();
  sides_.push_back(std::move(bare));
}

const Layout& Sides::layout() {
  static const Layout kLayout{"Lives of containers, by daemon and shim",
                              {"Berth, own shim", "Berth, Go shim", "containerd, Berth's shim",
                               "containerd, Go shim", "bare runtime"},
                              3,
                              kBare};
  return kLayout;
}

std::vector<RuntimeProgram> Sides::runtimes(const Settings& settings, Results* results) const {
  return usable_runtimes(*bare_, settings, results);
}

std::vector<size_t> Sides::shuffled() {
  std::vector<size_t> order(sides_.size());
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::minstd_rand(random_++));
  return order;
}

}  // namespace berth::bench
