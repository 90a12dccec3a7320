// What it takes to run a program with posix_spawn(3): values that free themselves. Linux only.
#pragma once

#include <berth/fd.h>
#include <berth/status.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

#include <string>
#include <string_view>
#include <vector>

namespace berth {

/// Both ends of a pipe; neither is inherited by programs.
struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

inline Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return errno_status(errno, "make a pipe");
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

/// posix_spawn's two objects, freed together. One thread at a time.
struct SpawnSettings {
  SpawnSettings() {
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawnattr_init(&attributes);
  }
  ~SpawnSettings() {
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;

  enum class Group { kOfTheParent, kOwn };
  /// The program begins with no signal blocked and none ignored, whatever is so here; in a process
  /// group that it leads when it has its own. Sets the flags of `attributes`.
  void begin_afresh(Group group) {
    sigset_t none;
    sigset_t all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    ::posix_spawnattr_setsigdefault(&attributes, &all);
    ::posix_spawnattr_setpgroup(&attributes, 0);
    const int flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                      (group == Group::kOwn ? POSIX_SPAWN_SETPGROUP : 0);
    ::posix_spawnattr_setflags(&attributes, static_cast<short>(flags));
  }

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
};

/// Arguments or environment as posix_spawn takes them, ending in nullptr. Points into `strings`,
/// which must stay as they are.
inline std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> result;
  result.reserve(strings.size() + 1);
  for (const std::string& text : strings) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

/// Writes all of `bytes` to a blocking descriptor; `path` names it in the error.
inline Status write_all(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno_status(errno, "write " + path);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return {};
}

}  // namespace berth
