#include "points.h"

#include <filesystem>
#include <set>
#include <stdexcept>

#include "machine.h"

namespace berth::crash {

namespace fs = std::filesystem;

std::vector<std::string> points_in(const std::string& program) {
  constexpr std::string_view kMark = "berth-fault-point:";
  const std::string bytes = read_file(program);
  std::set<std::string> names;
  for (size_t at = bytes.find(kMark); at != std::string::npos; at = bytes.find(kMark, at + 1)) {
    const std::string name(bytes.c_str() + at + kMark.size());
    if (name.find('.') != std::string::npos) names.insert(name);
  }
  if (names.empty()) throw std::runtime_error(program + " has no fault points");
  return {names.begin(), names.end()};
}

std::vector<Armed> with_companions(const std::string& point, const std::string& order) {
  std::vector<Armed> all = {{point, order}};
  const auto starts = [&](const char* prefix) { return point.starts_with(prefix); };
  if (starts("daemon.abandon.")) all.push_back({"shim.create.mounted", "kill"});
  if (starts("daemon.publish.")) all.push_back({"shim.exit.begin", "kill"});
  if (starts("daemon.bury.") || starts("shim.remove.")) all.push_back({"shim.start.made", "kill"});
  if (starts("daemon.recover.")) all.push_back({"daemon.start.done", "kill"});
  if (starts("daemon.discard.")) all.push_back({"daemon.create.bundle", "kill"});
  return all;
}

void arm(const std::string& folder, const std::vector<Armed>& points) {
  for (const Armed& armed : points) write_file(folder + "/" + armed.point, armed.order);
}

std::vector<std::string> still_armed(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!name.ends_with(".new")) names.push_back(name);
  }
  return names;
}

void disarm(const std::string& folder) {
  for (const std::string& name : still_armed(folder)) {
    std::error_code gone;
    fs::remove(folder + "/" + name, gone);
  }
}

}  // namespace berth::crash
