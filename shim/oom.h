// Tells when the kernel kills a process of a container for want of memory.
#pragma once

#include <berth/fd.h>
#include <berth/ttrpc/loop.h>

#include <functional>
#include <memory>
#include <string>

#include "cgroup.h"

namespace berth::shim {

class OomWatcher : public std::enable_shared_from_this<OomWatcher> {
 public:
  /// `killed` runs on the loop's thread. A cgroup without a memory controller is watched for
  /// nothing: the result is then null.
  static std::shared_ptr<OomWatcher> watch(std::shared_ptr<ttrpc::Loop> loop, const Cgroup& cgroup,
                                           std::function<void()> killed);
  ~OomWatcher();

  /// The first process has ended. Looks now, on the loop's thread: its exit must not be told before
  /// the kill that caused it. systemd removes a scope at once when its last process has ended, and
  /// with it what it says of kills; the slice above counts them, too. A kill that is counted there
  /// alone, since the last look at both, is taken for the container's if it `failed`.
  void check_end(bool failed);
  /// No call after this, from the loop's thread or when it has forgotten.
  void stop();

 private:
  OomWatcher(std::shared_ptr<ttrpc::Loop> loop, std::string file, std::string above, UniqueFd fd,
             std::function<void()> killed)
      : loop_(std::move(loop)),
        file_(std::move(file)),
        above_(std::move(above)),
        fd_(std::move(fd)),
        killed_(std::move(killed)) {}
  void ready();
  /// False when the cgroup is gone.
  bool look();

  const std::shared_ptr<ttrpc::Loop> loop_;
  const std::string file_;   // has a line "oom_kill N"
  const std::string above_;  // the same of the cgroup above, if that counts its children's
  const UniqueFd fd_;        // an eventfd or an inotify descriptor
  const std::function<void()> killed_;
  ttrpc::Loop::Id source_ = 0;
  int64_t seen_ = 0;
  int64_t seen_above_ = -1;
};

}  // namespace berth::shim
