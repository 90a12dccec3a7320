#include "record.h"

#include <berth/spawn.h>
#include <fcntl.h>

#include "log.h"

namespace berth::shim {
namespace {

// No exec can be called so.
std::string name(std::string_view exec_id) {
  return exec_id.empty() ? std::string(".") : std::string(exec_id);
}

}  // namespace

Result<std::shared_ptr<Record>> Record::open(const std::string& bundle) {
  const std::string path = bundle + "/processes";
  UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600));
  if (!file) return errno_status(errno, "create " + path);
  return std::shared_ptr<Record>(new Record(std::move(file)));
}

void Record::append(const std::string& line) const {
  const Status written = write_all(file_.get(), line, "the record of processes");
  if (!written.ok()) log(Level::kWarning, written.message());
}

void Record::started(std::string_view exec_id, pid_t pid) const {
  append("started " + name(exec_id) + " " + std::to_string(pid) + "\n");
}

void Record::ended(std::string_view exec_id, const Exit& exit) const {
  append("ended " + name(exec_id) + " " + std::to_string(exit.status) + " " +
         std::to_string(exit.seconds) + " " + std::to_string(exit.nanos) + "\n");
}

void Record::told(std::string_view exec_id) const { append("told " + name(exec_id) + "\n"); }

void Record::deleted() const { append("deleted\n"); }

}  // namespace berth::shim
