// The task service, version 2 and 3: their messages are the same.
#pragma once

#include <atomic>
#include <set>

#include "container.h"
#include "publisher.h"
#include "workers.h"

namespace berth::shim {

class Service {
 public:
  struct Settings {
    std::string ns;
    std::string socket;         // removed when the shim ends
    std::function<void()> end;  // ends the process, and need not return
  };

  Service(std::shared_ptr<ttrpc::Loop> loop, std::shared_ptr<Publisher> publisher,
          Settings settings)
      : loop_(std::move(loop)),
        publisher_(std::move(publisher)),
        settings_(std::move(settings)),
        children_([this](const Exit& exit) { exited(exit); }) {}

  /// Loop's thread; never blocks.
  void handle(ttrpc::Request request, ttrpc::Responder responder);

  Children& children() { return children_; }

 private:
  struct Method;
  using Found = std::pair<std::shared_ptr<Container>, std::shared_ptr<Process>>;

  // The methods: a serialized request, and a serialized response for `out`.
  Status create(std::string_view request, std::string* out);
  Status start(std::string_view request, std::string* out);
  Status state(std::string_view request, std::string* out);
  Status remove(std::string_view request, std::string* out);
  Status pids(std::string_view request, std::string* out);
  Status pause(std::string_view request, std::string* out);
  Status resume(std::string_view request, std::string* out);
  Status checkpoint(std::string_view request, std::string* out);
  Status kill(std::string_view request, std::string* out);
  Status exec(std::string_view request, std::string* out);
  Status resize_pty(std::string_view request, std::string* out);
  Status close_io(std::string_view request, std::string* out);
  Status update(std::string_view request, std::string* out);
  Status stats(std::string_view request, std::string* out);
  Status connect(std::string_view request, std::string* out);
  void wait(std::string_view request, const ttrpc::Responder& responder);
  void shutdown(std::string_view request, const ttrpc::Responder& responder);
  void leave(bool now, const ttrpc::Responder& responder);

  Status start_init(Container& container, Process& process);
  Status start_exec(Container& container, Process& process);
  Status restore(Container& container, Process& process, Stdio& stdio);
  Status remove_init(const Found& found);
  Status set_paused(std::string_view request, bool paused);

  Result<std::shared_ptr<Container>> find(const std::string& id);
  Result<Found> find(const std::string& id, const std::string& exec_id);
  Result<Found> find_locked(const std::string& id, const std::string& exec_id);
  bool busy_locked() const { return !containers_.empty() || !creating_.empty(); }

  // A process has its pid: from here on its end is found, and it may have come already.
  void adopt_locked(const std::shared_ptr<Process>& process, pid_t pid);
  void begin_spawn();
  void end_spawn();
  /// Any thread.
  void exited(const Exit& exit);
  /// Tells the ends that may be told, in order. Loop's thread.
  void settle(const std::shared_ptr<Container>& container);
  void settle_soon(const std::shared_ptr<Container>& container);
  void tell_locked(const Container& container, Process& process);

  /// Kills what a failed exec of the runtime may have left in the container.
  void end_strays(const Container& container, int64_t since_ns);

  template <typename Event>
  void publish(std::string_view topic, std::string_view type, const Event& event,
               std::function<void()> taken = {}) {
    publisher_->publish(topic, type, event.SerializeAsString(), std::move(taken));
  }

  const std::shared_ptr<ttrpc::Loop> loop_;
  const std::shared_ptr<Publisher> publisher_;
  const Settings settings_;
  Children children_;
  Workers workers_;
  std::atomic<unsigned> names_ = 0;  // of files for execs

  std::mutex mutex_;  // guards what follows and what containers and processes hold
  std::condition_variable told_;
  std::map<std::string, std::shared_ptr<Container>> containers_;
  std::set<std::string> creating_;
  bool leaving_ = false;  // from here on there are no new tasks
  std::map<pid_t, std::shared_ptr<Process>> by_pid_;
  /// Ends of children nobody has named yet, while a runtime is making one.
  std::map<pid_t, Exit> early_;
  unsigned spawning_ = 0;
  /// Of those, the ones that have failed and look for what they left; nothing new begins meanwhile.
  unsigned judging_ = 0;
  std::condition_variable spawned_;
};

/// The protobuf timestamp of an end.
template <typename Timestamp>
void set_time(const Exit& exit, Timestamp* out) {
  out->set_seconds(exit.seconds);
  out->set_nanos(exit.nanos);
}

template <typename Message>
Status parse(std::string_view bytes, Message* out) {
  if (out->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return {};
  return invalid_argument("read a request: it is not a well-formed message");
}

}  // namespace berth::shim
