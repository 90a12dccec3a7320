#include "process_record.h"

#include <berth/spawn.h>
#include <fcntl.h>

#include <charconv>

namespace berth::runtime {
namespace {

std::string_view take_word(std::string_view* line) {
  const std::string_view word = line->substr(0, line->find(' '));
  line->remove_prefix(std::min(word.size() + 1, line->size()));
  return word;
}

template <typename Number>
bool take_number(std::string_view* line, Number* number) {
  const std::string_view word = take_word(line);
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), *number);
  return error == std::errc() && end == word.data() + word.size();
}

void read_line(std::string_view line, ProcessRecord* record) {
  const std::string_view what = take_word(&line);
  if (what == "deleted") record->deleted = true;
  std::string id(take_word(&line));
  if (id.empty()) return;
  if (id == ".") id.clear();
  if (what == "started") {
    // An exec's id may be used again when it has been deleted.
    ProcessRecord::Process process;
    if (take_number(&line, &process.pid)) record->processes[id] = process;
    return;
  }
  const auto found = record->processes.find(id);
  if (found == record->processes.end()) return;
  if (what == "told") found->second.told = true;
  ExitStatus end;
  end.pid = found->second.pid;
  if (what == "ended" && take_number(&line, &end.status) && take_number(&line, &end.seconds) &&
      take_number(&line, &end.nanos)) {
    found->second.end = end;
  }
}

}  // namespace

ProcessRecord parse_record(std::string_view text) {
  ProcessRecord record;
  for (size_t end = text.find('\n'); end != std::string_view::npos; end = text.find('\n')) {
    read_line(text.substr(0, end), &record);
    text.remove_prefix(end + 1);
  }
  return record;
}

std::optional<ProcessRecord> read_record(const Bundle& bundle) {
  const auto text = bundle.read("processes");
  if (!text.ok()) return std::nullopt;
  return parse_record(*text);
}

namespace {

Status append(const Bundle& bundle, const std::string& line) {
  const std::string path = bundle.file("processes");
  const UniqueFd file(
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return errno_status(errno, "open " + path);
  return write_all(file.get(), line, path);
}

std::string name(const std::string& exec_id) { return exec_id.empty() ? "." : exec_id; }

}  // namespace

Status note_ended(const Bundle& bundle, const std::string& exec_id, const ExitStatus& end) {
  return append(bundle, "ended " + name(exec_id) + " " + std::to_string(end.status) + " " +
                            std::to_string(end.seconds) + " " + std::to_string(end.nanos) + "\n");
}

Status note_told(const Bundle& bundle, const std::string& exec_id, bool deletion) {
  return append(bundle, deletion ? "deleted\n" : "told " + name(exec_id) + "\n");
}

}  // namespace berth::runtime
