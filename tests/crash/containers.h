// The lives that containers lead while things are killed around them.
#pragma once

#include <google/protobuf/repeated_ptr_field.h>

#include <future>
#include <optional>
#include <string>
#include <vector>

#include "daemon.h"

namespace berth::crash {

/// What a container does and which runtime it has.
struct Plan {
  std::string id;
  std::string runtime = "runc";
  bool execs = false;     // one that ends by itself, one that is killed
  bool hooks = false;     // so that start and delete are the runtime's, not the shim's own
  bool kill_all = false;  // the end comes by the runtime's `kill --all`
  std::string rootfs;     // a folder with /bin/busybox
};

/// A process that was started, or that may have been.
struct ProcessLife {
  std::string container;
  std::string id;  // as events call it
  uint32_t true_status = 0;
  bool started = false;  // the daemon said so
  /// The daemon that was asked died, and the next one says that the process has stopped: it may
  /// have run to its end, or its start may have failed.
  bool maybe_refused = false;
  bool may_be_killed = false;  // by the client, when something went wrong
  /// What Wait answered; NOT_FOUND is what is known of a task that went with a daemon.
  std::optional<uint32_t> waited;
  bool unknown = false;
};

/// One container from its record to its removal. One thread.
class ContainerLife {
 public:
  ContainerLife(const Daemon& daemon, Plan plan);

  /// The container's record, which all its lives share.
  void make_record();

  /// One life. Whatever is killed, it ends with the task gone; throws std::runtime_error when it
  /// does not.
  std::vector<ProcessLife> live();

  /// For a witness: a task that is started, or only created, and left alone.
  void begin(bool start_it = true);
  uint32_t pid();
  /// For one whose shim is killed: waits until the task is gone, and returns what Wait said.
  uint32_t await_burial();
  /// Ends it, and returns what Wait said.
  uint32_t finish();

 private:
  struct Waiting;

  bool create();
  bool start(ProcessLife& process, const std::string& exec_id);
  bool exec(const std::string& exec_id, const std::string& script);
  bool run_execs(std::vector<ProcessLife>& processes);
  /// False when nobody knows before `patience` is over.
  bool wait(ProcessLife& process, const std::string& exec_id, milliseconds patience);
  void wait_surely(ProcessLife& process, const std::string& exec_id);
  bool kill(const std::string& exec_id, int signal, bool all);
  bool remove(const std::string& exec_id);
  /// Until the container's shell takes SIGTERM, or there is none.
  void await_trap();
  /// Until the task is gone.
  void bury(ProcessLife& init);

  /// A daemon that dies in a call is asked again when it is back, as Docker does it; it answers
  /// `done_before` when it had done what it was asked for.
  template <typename Response, typename Request>
  bool insist(const char* method, const Request& request, grpc::StatusCode done_before) {
    constexpr int kAttempts = 8;
    done_before_.clear();
    auto answer = tasks<Response>(method, request);
    for (int i = 0; i < kAttempts && answer.code() == grpc::StatusCode::UNAVAILABLE; ++i) {
      (void)daemon_.life();
      std::this_thread::sleep_for(milliseconds(5 << i));
      answer = tasks<Response>(method, request);
      if (answer.code() == done_before) {
        done_before_ = answer.status.error_message();
        return true;
      }
    }
    return answer.ok();
  }

  template <typename Response, typename Request>
  Answer<Response> tasks(const char* method, const Request& request,
                         milliseconds timeout = std::chrono::seconds(30)) {
    auto answer = daemon_.client().call<Response>(
        std::string("containerd.services.tasks.v1.Tasks/") + method, request, timeout);
    if (!answer.ok()) last_error_ = std::string(method) + ": " + answer.status.error_message();
    return answer;
  }

  const Daemon& daemon_;
  const Plan plan_;
  std::string last_error_;
  std::string done_before_;  // what the daemon said that had done it before
};

}  // namespace berth::crash
