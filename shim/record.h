// What happened to the processes of a container, kept in its bundle: when the shim is gone, the
// daemon tells the ends that were not told, and no other. docs/formats/bundle.md has the lines.
#pragma once

#include <berth/fd.h>
#include <berth/status.h>

#include <memory>
#include <string>
#include <string_view>

#include "children.h"

namespace berth::shim {

/// Any thread: each line is one write(2). One that fails is logged; the container goes on.
class Record {
 public:
  static Result<std::shared_ptr<Record>> open(const std::string& bundle);

  /// An empty exec id is the first process.
  void started(std::string_view exec_id, pid_t pid) const;
  void ended(std::string_view exec_id, const Exit& exit) const;
  /// The daemon has taken the event of the end.
  void told(std::string_view exec_id) const;
  /// The daemon has taken the event of the task's deletion.
  void deleted() const;

 private:
  explicit Record(UniqueFd file) : file_(std::move(file)) {}
  void append(const std::string& line) const;

  const UniqueFd file_;
};

}  // namespace berth::shim
