// What happened to the processes of a container, kept in its bundle: when the shim is gone, the
// daemon tells the ends that were not told, and no other. docs/formats/bundle.md has the lines.
#pragma once

#include <berth/fd.h>
#include <berth/status.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "children.h"

namespace berth::shim {

/// Any thread: each line is one write(2). One that fails is logged; the container goes on.
///
/// A container may have an exec every few seconds for years, and the file lies in memory: when most
/// of it is about processes that are told and deleted, it is written anew without them.
class Record {
 public:
  static Result<std::shared_ptr<Record>> open(const std::string& bundle);

  /// An empty exec id is the first process.
  void started(std::string_view exec_id, pid_t pid);
  void ended(std::string_view exec_id, const Exit& exit);
  /// The daemon has taken the event of the end. The id may be another process's by now: the pid
  /// counts.
  void told(std::string_view exec_id, pid_t pid);
  /// A client has deleted the process: once its end is told, nobody asks for it any more.
  void removed(std::string_view exec_id);
  /// The daemon has taken the event of the task's deletion.
  void deleted();

 private:
  static constexpr size_t kLeastRewrite = 64u << 10;

  struct Entry {
    pid_t pid = 0;
    bool told = false, removed = false;
    std::string lines;  // that are true of it
  };

  Record(std::string path, UniqueFd file) : path_(std::move(path)), file_(std::move(file)) {}
  void add_locked(Entry& entry, const std::string& line);
  void append_locked(const std::string& line);
  void drop_if_done_locked(std::map<std::string, Entry, std::less<>>::iterator entry);
  Status rewrite_locked();

  const std::string path_;
  std::mutex mutex_;  // guards what follows
  UniqueFd file_;
  size_t size_ = 0;
  size_t rewrite_at_ = kLeastRewrite;
  std::map<std::string, Entry, std::less<>> entries_;  // by exec id
};

}  // namespace berth::shim
