#include "ops/stopped.h"

#include <fstream>

namespace berth::ops {

std::string why_stopped(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(file, line);
  // The state's letter, as in proc(5), is after the name, which may hold anything.
  const size_t name_end = line.rfind(") ");
  if (name_end == std::string::npos || name_end + 2 >= line.size()) return {};
  switch (line[name_end + 2]) {
    case 'T':
      return "is stopped by a signal (SIGSTOP, say)";
    case 't':
      return "is stopped by a debugger";
    default:
      return {};
  }
}

}  // namespace berth::ops
