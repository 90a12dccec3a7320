// Which OCI runtimes Berth's shim may leave out where it does their work itself (decision 10).
#pragma once

#include <berth/status.h>

#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace berth::runtime {

/// Any thread.
class DirectRuntimes {
 public:
  /// `versions` are names with major and minor version, "runc 1.1"; empty: none.
  explicit DirectRuntimes(std::vector<std::string> versions) : versions_(std::move(versions)) {}

  /// INVALID_ARGUMENT unless it is "runc" or "crun" with a version of two numbers.
  static Status check(std::string_view version);

  /// What a shim is told in BERTH_DIRECT_RUNTIME of `binary`, a path or a name to be found in PATH:
  /// "runc IDENTITY" with file_identity() of the program; empty: nothing. A program that was not
  /// seen before is asked for its version, for which it has two seconds.
  std::string told_of(const std::string& binary);

 private:
  const std::vector<std::string> versions_;
  std::mutex mutex_;
  std::unordered_map<std::string, std::string> names_;  // by identity; empty: none of them
};

/// "runc 1.1" from the output of `runc --version`, "runc version 1.1.5+ds1"; empty: neither runc
/// nor crun says so in its first line.
std::string parse_runtime_version(std::string_view output);

}  // namespace berth::runtime
