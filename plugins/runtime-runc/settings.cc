#include "settings.h"

#include <unistd.h>

#include <array>
#include <charconv>
#include <climits>
#include <cstdlib>
#include <nlohmann/json.hpp>

namespace berth::runtime {
namespace {

Result<std::vector<std::string>> parse_list(std::string_view key, std::string_view text) {
  std::vector<std::string> list;
  if (text.empty()) return list;
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_array())
    return invalid_argument(std::string(key) + ": " + std::string(text) + " is not a list");
  for (const auto& entry : json) {
    if (!entry.is_string())
      return invalid_argument(std::string(key) + ": " + entry.dump() + " is not a string");
    list.push_back(entry.get<std::string>());
  }
  return list;
}

std::string own_program() {
  std::array<char, PATH_MAX> path;
  const ssize_t size = ::readlink("/proc/self/exe", path.data(), path.size());
  return size > 0 ? std::string(path.data(), static_cast<size_t>(size)) : std::string();
}

}  // namespace

Result<std::chrono::nanoseconds> parse_duration(std::string_view text) {
  struct Unit {
    std::string_view name;
    double nanoseconds;
  };
  constexpr Unit kUnits[] = {{"ns", 1},  {"us", 1e3}, {"ms", 1e6},
                             {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}};
  const auto invalid = [&] {
    return invalid_argument("\"" + std::string(text) +
                            "\" is not a duration such as \"150ms\" or \"2h45m\"");
  };
  if (text == "0") return std::chrono::nanoseconds(0);
  if (text.empty()) return invalid();
  double total = 0;
  for (std::string_view rest = text; !rest.empty();) {
    double number = 0;
    const auto [end, error] =
        std::from_chars(rest.data(), rest.data() + rest.size(), number, std::chars_format::fixed);
    if (error != std::errc() || number < 0) return invalid();
    rest.remove_prefix(static_cast<size_t>(end - rest.data()));
    const size_t size = std::min(rest.find_first_of("0123456789."), rest.size());
    const std::string_view name = rest.substr(0, size);
    rest.remove_prefix(size);
    double unit = 0;
    for (const Unit& known : kUnits) {
      if (known.name == name) unit = known.nanoseconds;
    }
    if (unit == 0) return invalid();
    total += number * unit;
  }
  if (total > 9e18) return invalid();
  return std::chrono::nanoseconds(static_cast<int64_t>(total));
}

Result<RuntimeSettings> read_settings(const Lookup& config, const Lookup& property) {
  RuntimeSettings settings;
  settings.roots = {std::string(property("state")), std::string(property("root"))};
  LauncherSettings& launcher = settings.launcher;
  launcher.address = property("address");
  launcher.ttrpc_address = property("ttrpc-address");
  launcher.daemon_version = property("version");
  launcher.publish_binary = own_program();
  launcher.beside = launcher.publish_binary.substr(0, launcher.publish_binary.rfind('/'));
  // Berth's own shims, in a build folder and as installed.
  launcher.own = {launcher.beside + "/shim", launcher.beside + "/../libexec/berth"};
  const char* const path = std::getenv("PATH");
  launcher.path =
      path != nullptr ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  BERTH_ASSIGN_OR_RETURN(launcher.shim_path, parse_list("shim_path", config("shim_path")));
  BERTH_ASSIGN_OR_RETURN(launcher.environment, parse_list("env", config("env")));
  if (!config("direct_runtimes").empty()) {
    BERTH_ASSIGN_OR_RETURN(settings.direct_runtimes,
                           parse_list("direct_runtimes", config("direct_runtimes")));
  }
  for (const std::string& version : settings.direct_runtimes) {
    BERTH_RETURN_IF_ERROR(DirectRuntimes::check(version).with_context("direct_runtimes"));
  }
  if (config("sched_core") == "true") launcher.environment.emplace_back("SCHED_CORE=1");
  launcher.debug = config("shim_debug") == "true";
  const auto read = [&](std::string_view key, std::chrono::nanoseconds* out) -> Status {
    if (config(key).empty()) return {};
    auto parsed = parse_duration(config(key));
    if (!parsed.ok()) return parsed.status().with_context(key);
    *out = *parsed;
    return {};
  };
  BERTH_RETURN_IF_ERROR(read("start_timeout", &launcher.start_timeout));
  BERTH_RETURN_IF_ERROR(read("cleanup_timeout", &launcher.delete_timeout));
  BERTH_RETURN_IF_ERROR(read("state_timeout", &settings.timeouts.state));
  BERTH_RETURN_IF_ERROR(read("action_timeout", &settings.timeouts.action));
  BERTH_RETURN_IF_ERROR(read("shutdown_timeout", &settings.timeouts.shutdown));
  BERTH_RETURN_IF_ERROR(read("reconnect_timeout", &settings.reconnect_timeout));
  return settings;
}

}  // namespace berth::runtime
