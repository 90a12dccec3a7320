// What the shim knows of its containers and their processes.
#pragma once

#include <berth/ttrpc/server.h>

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "cgroup.h"
#include "direct.h"
#include "oom.h"
#include "process_io.h"
#include "record.h"
#include "runtime.h"
#include "spec.h"

namespace berth::shim {

/// The first process of a container, or one that was added. Guarded by Service's mutex unless a
/// member says otherwise.
struct Process {
  std::string exec_id;  // empty: the first one
  StdioSpec stdio_spec;
  /// Held by a worker while it starts or deletes this process; taken before Service's mutex.
  std::mutex operation;

  std::string spec;        // of an exec, until it starts
  std::string checkpoint;  // of a first process that is restored when it starts
  std::shared_ptr<Stdio> stdio;
  pid_t pid = 0;
  bool starting = false;
  bool started = false;
  bool removed = false;
  bool input_closed = false;  // also before there is an input
  /// Set when it was reaped. Until `told` nobody is told of it: its start comes first, and the ends
  /// of execs come before that of the first process.
  std::optional<Exit> exit;
  bool told = false;
  std::vector<ttrpc::Responder> waiters;
};

struct Container {
  std::string id;
  std::string bundle;
  SpecFacts facts;
  std::shared_ptr<const Runtime> runtime;
  DirectKind direct = DirectKind::kNone;  // what of the runtime the shim does itself
  std::shared_ptr<Record> record;
  std::shared_ptr<Process> init;

  Cgroup cgroup;
  std::shared_ptr<OomWatcher> oom;
  std::map<std::string, std::shared_ptr<Process>> execs;
  bool paused = false;
  bool killing_rest = false;
  bool settling = false;  // again, soon; of the loop's thread

  std::string rootfs() const { return bundle + "/rootfs"; }
};

}  // namespace berth::shim
