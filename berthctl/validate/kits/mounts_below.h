// What a case has left mounted. Of its own folder alone: a mount namespace begins with what others
// have mounted, and keeps it as long as they do.
#pragma once

#include <fstream>
#include <string>
#include <vector>

namespace berth::ctl::validate {

inline std::vector<std::string> mounts_below(const std::string& folder) {
  std::vector<std::string> found;
  std::ifstream table("/proc/self/mountinfo");
  for (std::string line; std::getline(table, line);) {
    if (line.find(" " + folder + "/") != std::string::npos) found.push_back(line);
  }
  return found;
}

}  // namespace berth::ctl::validate
