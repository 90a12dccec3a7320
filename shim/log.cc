#include "log.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <string>

namespace berth::shim {
namespace {

struct Log {
  int fd = -1;
  bool debug = false;
  std::string fields;
};

Log& the_log() {
  static Log* const instance = new Log();  // outlives every thread
  return *instance;
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out.push_back('\\');
    if (c == '\n') {
      out += "\\n";
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
  return out;
}

}  // namespace

void open_log(std::string_view ns, std::string_view id, bool debug) {
  Log& log = the_log();
  log.debug = debug;
  log.fields = " id=" + quoted(id) + " namespace=" + quoted(ns);
  // Both ends: a daemon that restarts must be able to open the fifo again without the shim's help.
  log.fd = ::open("log", O_RDWR | O_NONBLOCK | O_CLOEXEC);
}

void log(Level level, std::string_view message) {
  const Log& to = the_log();
  if (to.fd < 0 || (level == Level::kDebug && !to.debug)) return;
  constexpr std::array<const char*, 4> kNames = {"debug", "info", "warning", "error"};
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  tm parts{};
  ::gmtime_r(&now.tv_sec, &parts);
  std::array<char, 64> stamp{};
  const size_t used = ::strftime(stamp.data(), stamp.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(stamp.data() + used, stamp.size() - used, ".%09ldZ", now.tv_nsec);
  const std::string line = std::string("time=\"") + stamp.data() +
                           "\" level=" + kNames[static_cast<size_t>(level)] +
                           " msg=" + quoted(message) + to.fields + "\n";
  [[maybe_unused]] const ssize_t written = ::write(to.fd, line.data(), line.size());
}

}  // namespace berth::shim
