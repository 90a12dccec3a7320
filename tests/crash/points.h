// The fault points of the programs under test, and the files that arm them.
#pragma once

#include <string>
#include <vector>

namespace berth::crash {

/// The names of all points that a program was compiled with, sorted; throws std::runtime_error when
/// it has none.
std::vector<std::string> points_in(const std::string& program);

/// A group of points that one round visits, each armed with what is to happen there.
struct Armed {
  std::string point;
  std::string order;  // "kill", or microseconds for a command of the runtime
};

/// Points that are on no container's usual way need another fault first: that one is added.
std::vector<Armed> with_companions(const std::string& point, const std::string& order);

void arm(const std::string& folder, const std::vector<Armed>& points);
/// Those that nobody has reached.
std::vector<std::string> still_armed(const std::string& folder);
void disarm(const std::string& folder);

}  // namespace berth::crash
