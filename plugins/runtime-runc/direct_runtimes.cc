#include "direct_runtimes.h"

#include <berth/fd.h>
#include <berth/program_file.h>
#include <berth/shim_client/program.h>
#include <berth/ttrpc/loop.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>

namespace berth::runtime {
namespace {

constexpr std::chrono::nanoseconds kPatience = std::chrono::seconds(2);
constexpr std::string_view kNames[] = {"runc", "crun"};

// "1.1" of "1.1.5+ds1"; empty when it does not begin like that.
std::string_view major_and_minor(std::string_view version) {
  const auto digits = [&](size_t from) {
    return std::min(version.find_first_not_of("0123456789", from), version.size());
  };
  const size_t major = digits(0);
  if (major == 0 || major >= version.size() || version[major] != '.') return {};
  const size_t minor = digits(major + 1);
  return minor == major + 1 ? std::string_view() : version.substr(0, minor);
}

// A script in front of a runtime answers for it, and has its own ideas of `start` and `delete`.
bool is_elf(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 4> begin{};
  return file && ::read(file.get(), begin.data(), begin.size()) == 4 &&
         std::string_view(begin.data(), begin.size()) ==
             "\x7f"
             "ELF";
}

}  // namespace

Status DirectRuntimes::check(std::string_view version) {
  for (const std::string_view name : kNames) {
    if (version.size() <= name.size() + 1 || !version.starts_with(name) ||
        version[name.size()] != ' ') {
      continue;
    }
    const std::string_view numbers = version.substr(name.size() + 1);
    if (!numbers.empty() && major_and_minor(numbers) == numbers) return {};
  }
  return invalid_argument("\"" + std::string(version) +
                          "\" is no runtime and version such as \"runc 1.1\" or \"crun 1.8\"");
}

std::string parse_runtime_version(std::string_view output) {
  const std::string_view line = output.substr(0, output.find('\n'));
  for (const std::string_view name : kNames) {
    const std::string begin = std::string(name) + " version ";
    if (!line.starts_with(begin)) continue;
    const std::string_view version = major_and_minor(line.substr(begin.size()));
    return version.empty() ? std::string() : std::string(name) + " " + std::string(version);
  }
  return {};
}

std::string DirectRuntimes::told_of(const std::string& binary) {
  if (versions_.empty()) return {};
  const auto path = find_program(binary);
  if (!path.ok()) return {};
  const auto identity = file_identity(*path);
  if (!identity.ok()) return {};
  const auto told = [&](const std::string& name) {
    return name.empty() ? std::string() : name + " " + *identity;
  };
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = names_.find(*identity); found != names_.end()) {
      return told(found->second);
    }
  }
  std::string name;
  if (is_elf(*path)) {
    const char* const folders = ::getenv("PATH");
    const auto outcome =
        shim_client::run_program({*path,
                                  {"--version"},
                                  {std::string("PATH=") + (folders != nullptr ? folders : "")},
                                  "",
                                  ""},
                                 ttrpc::monotonic_ns() + kPatience.count());
    if (!outcome.ok()) return {};  // no answer is nothing to remember
    const std::string version =
        outcome->exit_status == 0 ? parse_runtime_version(outcome->output) : std::string();
    if (std::find(versions_.begin(), versions_.end(), version) != versions_.end()) {
      name = version.substr(0, version.find(' '));
    }
  }
  const std::lock_guard lock(mutex_);
  return told(names_[*identity] = name);
}

}  // namespace berth::runtime
