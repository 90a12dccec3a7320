#include "record.h"

#include <berth/spawn.h>
#include <fcntl.h>
#include <stdio.h>

#include <algorithm>

#include "log.h"

namespace berth::shim {
namespace {

// No exec can be called so.
std::string name(std::string_view exec_id) {
  return exec_id.empty() ? std::string(".") : std::string(exec_id);
}

Result<UniqueFd> create(const std::string& path) {
  UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600));
  if (!file) return errno_status(errno, "create " + path);
  return file;
}

}  // namespace

Result<std::shared_ptr<Record>> Record::open(const std::string& bundle) {
  std::string path = bundle + "/processes";
  BERTH_ASSIGN_OR_RETURN(UniqueFd file, create(path));
  return std::shared_ptr<Record>(new Record(std::move(path), std::move(file)));
}

void Record::append_locked(const std::string& line) {
  size_ += line.size();
  Status written = write_all(file_.get(), line, path_);
  if (size_ >= rewrite_at_) {
    // The line is in it, so that a write which failed is made up for.
    written = rewrite_locked();
    // After a failure not again at the next line.
    rewrite_at_ = std::max(kLeastRewrite, size_ * 2);
  }
  if (!written.ok()) log(Level::kWarning, "the record of processes: " + written.message());
}

Status Record::rewrite_locked() {
  std::string all;
  for (const auto& [id, entry] : entries_) all += entry.lines;
  const std::string path = path_ + ".new";
  BERTH_ASSIGN_OR_RETURN(UniqueFd file, create(path));
  BERTH_RETURN_IF_ERROR(write_all(file.get(), all, path));
  // Who reads it sees the one or the other, whole.
  if (::rename(path.c_str(), path_.c_str()) != 0) return errno_status(errno, "rename " + path);
  file_ = std::move(file);
  size_ = all.size();
  return {};
}

void Record::add_locked(Entry& entry, const std::string& line) {
  entry.lines += line;
  append_locked(line);
}

void Record::started(std::string_view exec_id, pid_t pid) {
  const std::lock_guard lock(mutex_);
  Entry& entry = entries_[std::string(exec_id)];
  entry = Entry{.pid = pid, .lines = {}};
  add_locked(entry, "started " + name(exec_id) + " " + std::to_string(pid) + "\n");
}

void Record::ended(std::string_view exec_id, const Exit& exit) {
  const std::lock_guard lock(mutex_);
  const auto entry = entries_.find(exec_id);
  if (entry == entries_.end()) return;
  add_locked(entry->second, "ended " + name(exec_id) + " " + std::to_string(exit.status) + " " +
                                std::to_string(exit.seconds) + " " + std::to_string(exit.nanos) +
                                "\n");
}

void Record::told(std::string_view exec_id, pid_t pid) {
  const std::lock_guard lock(mutex_);
  const auto entry = entries_.find(exec_id);
  // One whose id has been used again cannot be told of any more.
  if (entry == entries_.end() || entry->second.pid != pid) return;
  entry->second.told = true;
  add_locked(entry->second, "told " + name(exec_id) + "\n");
  drop_if_done_locked(entry);
}

void Record::removed(std::string_view exec_id) {
  const std::lock_guard lock(mutex_);
  const auto entry = entries_.find(exec_id);
  if (entry == entries_.end()) return;
  entry->second.removed = true;
  drop_if_done_locked(entry);
}

void Record::drop_if_done_locked(std::map<std::string, Entry, std::less<>>::iterator entry) {
  if (entry->second.told && entry->second.removed) entries_.erase(entry);
}

void Record::deleted() {
  const std::lock_guard lock(mutex_);
  append_locked("deleted\n");
}

}  // namespace berth::shim
