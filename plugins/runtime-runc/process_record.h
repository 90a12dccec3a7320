// What a shim wrote down of its container's processes, for when it is gone.
#pragma once

#include <berth/shim_client/launcher.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace berth::runtime {

using shim_client::Bundle;
using shim_client::ExitStatus;

struct ProcessRecord {
  struct Process {
    uint32_t pid = 0;
    std::optional<ExitStatus> end;
    bool told = false;  // a daemon has taken the event of the end
  };
  /// By exec id; the first process has an empty one.
  std::map<std::string, Process> processes;
  bool deleted = false;  // a daemon has taken the event of the deletion
};

/// Lines that are cut off or say nothing are passed over: the shim died when it died.
ProcessRecord parse_record(std::string_view text);

/// Nothing when the shim is none that keeps one.
std::optional<ProcessRecord> read_record(const Bundle& bundle);

/// Notes how a process ended of which its shim wrote no end, before that is told: what is told
/// again is the same.
Status note_ended(const Bundle& bundle, const std::string& exec_id, const ExitStatus& end);

/// Notes that the end of a process has been told, or with `deletion` that of the task, in the place
/// of a shim that is gone: a daemon that dies now must not tell it again.
Status note_told(const Bundle& bundle, const std::string& exec_id, bool deletion = false);

}  // namespace berth::runtime
