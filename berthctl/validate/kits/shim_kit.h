// What the cases of the shim kit have in common: a daemon's surroundings for a shim program
// (events, bundles, a root file system of busybox), and the calls that a daemon makes. The program
// is started as berthd starts it.
#pragma once

#include <berth/shim_client.h>
#include <berth/ttrpc/server.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <future>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "validate/under_test.h"

namespace berth::ctl::validate {

namespace shim_api = shim_client::shim_api;

/// Events of the shim as they came, a line each: "/tasks/exit ID status 7".
class ShimEvents {
 public:
  void add(const std::string& line);
  /// Those of one container: waits until there are so many, ten seconds at most.
  std::vector<std::string> wait_for(const std::string& id, size_t count);

 private:
  std::mutex mutex_;
  std::condition_variable came_;
  std::vector<std::string> lines_;
};

/// What a container shall be.
struct Wanted {
  std::vector<std::string> args = {"sh", "-c", "exit 0"};
  std::vector<std::string> env = {"PATH=/bin"};
  std::string cwd = "/";
  unsigned user = 0;
  bool terminal = false;
};

/// How a process ended.
struct Ended {
  Status status;  // of the call of Wait
  uint32_t code = 0;
  int64_t seconds = 0;
};

class ShimKit : public ::testing::Test {
 protected:
  /// One container and, once it is started, its shim.
  struct Container {
    std::string id;
    std::unique_ptr<shim_client::Bundle> bundle;
    std::unique_ptr<shim_client::ShimLog> log;
    shim_client::Bootstrap bootstrap;
    std::shared_ptr<shim_client::Shim> shim;
    pid_t shim_pid = 0;
    UniqueFd process;  // a pidfd of the first one, which must not outlive a shim that fails
    std::string rootfs;
    bool terminal = false;
    bool dismissed = false;
  };

  void SetUp() override;
  void TearDown() override;

  /// A bundle and a shim for it; nullptr, and the case failed, when it does not start.
  Container* launch(const Wanted& wanted);
  Status connect(Container* container);
  /// After all processes are deleted: Shutdown, and the shim goes.
  void dismiss(Container* container);

  struct Streams {
    std::string in, out, err;
  };
  std::string errors_of(const Streams& streams, bool terminal) const;
  Status create(Container* container, const Streams& streams = {}, uint32_t* pid = nullptr);
  Status start(Container* container, const std::string& exec = {}, uint32_t* pid = nullptr);
  std::future<Ended> wait(Container* container, const std::string& exec = {});
  /// The end, twenty seconds at most.
  static Ended end_of(std::future<Ended>& waiting);
  Status kill(Container* container, int signal, const std::string& exec = {});
  Status remove(Container* container, const std::string& exec = {},
                shim_api::DeleteResponse* response = nullptr);
  Status exec(Container* container, const std::string& exec, const Wanted& wanted,
              const Streams& streams = {});
  Result<shim_api::StateResponse> state(Container* container, const std::string& exec = {});
  Status simple(Container* container, const char* method);  // Pause and Resume
  template <typename Request, typename Response>
  Status call(Container* container, const char* method, const Request& request,
              Response* response) {
    doing(std::string("call ") + method);
    return shim_client::with_state_code(
        container->shim->call(Context(), method, request, response, std::chrono::seconds(30)));
  }
  /// create, start, wait; expects that it ends with this code.
  void run_to_end(Container* container, uint32_t code);

  std::string fifo(const std::string& name) const;
  /// Processes that were started for the container and are there.
  static std::vector<pid_t> processes_of(const std::string& id);

  std::string directory_;
  std::shared_ptr<ttrpc::Loop> loop_;
  std::unique_ptr<ttrpc::Server> server_;
  std::unique_ptr<shim_client::ShimLauncher> launcher_;
  ShimEvents events_;
  std::vector<std::unique_ptr<Container>> containers_;
};

/// Reads what a shim writes into a fifo; keeps its own end open, as clients do.
class FifoReader {
 public:
  explicit FifoReader(const std::string& path);
  /// Until there are so many bytes, ten seconds at most.
  std::string read(size_t size);

 private:
  UniqueFd fd_;
};

bool comes_true(const std::function<bool()>& holds);

}  // namespace berth::ctl::validate
