#include "whereabouts.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "plugin_graph.h"

namespace berth::ctl {
namespace {

namespace pb = berth::host::v1;
using nlohmann::ordered_json;

std::string seconds(uint64_t nanoseconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g s", static_cast<double>(nanoseconds) / 1e9);
  return text;
}

std::string advice_on(const pb::Process& process, pb::State state) {
  const std::string pid = std::to_string(process.pid());
  const std::string end = "berthd kills it and starts it again once it has not answered for " +
                          seconds(process.hang_timeout_ns());
  if (process.stopped()) {
    return "let it go on, with `kill -CONT " + pid + "` or in its debugger; " + end;
  }
  if (state != pb::STATE_UNRESPONSIVE) return {};
  return "wait: " + end + "; `gdb -p " + pid + "` shows what it does";
}

/// "process 12 (snapd)", where that is known.
std::string listener(const pb::Proxy& proxy) {
  if (proxy.pid() == 0) return "the process that listens";
  std::string text = "process " + std::to_string(proxy.pid());
  if (!proxy.process_name().empty()) text += " (" + proxy.process_name() + ")";
  return text;
}

std::string advice_on(const pb::Proxy& proxy, bool live) {
  const std::string later = live ? "; berthd finds it at the next call, without a restart" : "";
  const std::string correct =
      "correct the address at " + proxy.configured_at() + (live ? " and restart berthd" : "");
  switch (proxy.contact()) {
    case pb::CONTACT_NOBODY:
      return "start the program that is to listen there" + later + "; or " + correct;
    case pb::CONTACT_SILENT:
      if (proxy.stopped()) {
        return "let it go on, with `kill -CONT " + std::to_string(proxy.pid()) +
               "` or in its debugger" + later;
      }
      return "see what " + listener(proxy) + " does, and restart it if it hangs" + later + "; or " +
             correct + ", if another socket was meant";
    case pb::CONTACT_FOREIGN:
      return correct + ", if another program was meant; or see what the log of this one says";
    case pb::CONTACT_FORBIDDEN:
      return live ? "let berthd connect to it: see to the socket's owner and mode" : "ask as root";
    default:
      return {};
  }
}

}  // namespace

std::string process_text(const pb::Process& process) {
  std::string text = "has ";
  text += process.pid() == 0 ? "no process now" : "process " + std::to_string(process.pid());
  char figures[96];
  std::snprintf(figures, sizeof figures, ", %.1f MiB resident, %.2f s of CPU, ",
                static_cast<double>(process.resident_bytes()) / (1 << 20),
                static_cast<double>(process.cpu_ns()) / 1e9);
  text += figures + std::to_string(process.restarts()) + " restarts";
  if (process.memory_max() != 0) {
    text += ", a memory_max of " + std::to_string(process.memory_max()) + " bytes seen to by " +
            process.memory_held_by();
  }
  if (!process.last_end().empty()) text += "; the last time " + process.last_end();
  return text;
}

std::string proxy_text(const pb::Proxy& proxy, const std::string& told) {
  std::string text = "is of another program, reached at " + proxy.address() + " (type \"" +
                     proxy.type() + "\", " + proxy.configured_at() + ")";
  if (proxy.contact() == pb::CONTACT_ANSWERS) text += "; " + listener(proxy) + " answers there";
  if (!proxy.reason().empty() && proxy.reason() != told) text += "; now " + proxy.reason();
  return text;
}

ordered_json process_json(const pb::Process& process) {
  return {{"pid", process.pid()},
          {"restarts", process.restarts()},
          {"last_end", process.last_end()},
          {"resident_bytes", process.resident_bytes()},
          {"cpu_ns", process.cpu_ns()},
          {"memory_max", process.memory_max()},
          {"memory_held_by", process.memory_held_by()},
          {"stopped", process.stopped()},
          {"unanswered_ns", process.unanswered_ns()},
          {"hang_timeout_ns", process.hang_timeout_ns()}};
}

ordered_json proxy_json(const pb::Proxy& proxy) {
  return {{"address", proxy.address()},
          {"type", proxy.type()},
          {"configured_at", proxy.configured_at()},
          {"contact", contact_name(proxy.contact())},
          {"pid", proxy.pid()},
          {"process_name", proxy.process_name()},
          {"reason", proxy.reason()},
          {"stopped", proxy.stopped()}};
}

std::vector<std::string> advice_on_answering(const pb::Plugin& plugin, bool live) {
  std::vector<std::string> advice;
  if (plugin.has_process()) advice.push_back(advice_on(plugin.process(), plugin.state()));
  if (plugin.has_proxy()) advice.push_back(advice_on(plugin.proxy(), live));
  std::erase(advice, "");
  return advice;
}

}  // namespace berth::ctl
