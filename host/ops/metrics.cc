#include "ops/metrics.h"

#include <arpa/inet.h>
#include <berth/fd.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cstdio>
#include <thread>

#include "bus/workers.h"

namespace berth::ops {
namespace {

struct Family {
  const char* name;
  const char* type;
  const char* help;
  std::string lines;

  std::string text() const {
    return fmt::format("# HELP {} {}\n# TYPE {} {}\n{}", name, help, name, type, lines);
  }
};

uint64_t resident_bytes() {
  uint64_t pages_total = 0;
  uint64_t pages_resident = 0;
  if (FILE* file = std::fopen("/proc/self/statm", "re"); file != nullptr) {
    if (std::fscanf(file, "%lu %lu", &pages_total, &pages_resident) != 2) pages_resident = 0;
    std::fclose(file);
  }
  return pages_resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

std::string process_text(const std::vector<ProcessUsage>& processes) {
  Family pid{"berth_plugin_process_id", "gauge", "Process of the plugin, 0 while it has none.", {}};
  Family restarts{"berth_plugin_process_restarts_total",
                  "counter",
                  "How often the plugin's process was started again.",
                  {}};
  Family memory{"berth_plugin_process_resident_memory_bytes",
                "gauge",
                "Resident memory of the plugin's process.",
                {}};
  Family cpu{"berth_plugin_process_cpu_seconds_total",
             "counter",
             "CPU time of the plugin's process and of those before it.",
             {}};
  for (const ProcessUsage& one : processes) {
    const auto line = [&](Family& family, auto value) {
      family.lines += fmt::format("{}{{plugin=\"{}\"}} {}\n", family.name, one.plugin, value);
    };
    line(pid, one.pid);
    line(restarts, one.restarts);
    line(memory, one.resident_bytes);
    line(cpu, static_cast<double>(one.cpu_nanoseconds) / 1e9);
  }
  std::string text;
  for (const Family* family : {&pid, &restarts, &memory, &cpu}) text += family->text();
  return text;
}

}  // namespace

std::string metrics_text(const Measured& plugins) {
  Family calls{"berth_calls_total", "counter", "Calls that ended, by plugin and method.", {}};
  Family errors{
      "berth_call_errors_total", "counter", "Calls that ended with a status other than OK.", {}};
  Family in{"berth_call_request_bytes_total", "counter", "Message bytes sent to the plugin.", {}};
  Family out{
      "berth_call_response_bytes_total", "counter", "Message bytes received from the plugin.", {}};
  Family latency{
      "berth_call_duration_seconds", "histogram", "From the beginning of a call to its end.", {}};
  Family flight{"berth_calls_in_flight", "gauge", "Calls that have not ended, by plugin.", {}};
  Family ready{"berth_plugin_ready", "gauge", "1 when the plugin takes calls.", {}};

  for (const bus::Target* target : plugins.targets) {
    const std::string& uri = target->identity().uri;
    flight.lines += fmt::format("{}{{plugin=\"{}\"}} {}\n", flight.name, uri, target->in_flight());
    ready.lines +=
        fmt::format("{}{{plugin=\"{}\"}} {}\n", ready.name, uri, target->is_ready() ? 1 : 0);
    for (const auto& method : target->methods()) {
      const bus::MethodTotals totals = method->statistics.totals();
      if (totals.calls == 0) continue;
      const std::string labels = fmt::format("plugin=\"{}\",service=\"{}\",method=\"{}\"", uri,
                                             method->service, method->name);
      const auto line = [&](Family& family, uint64_t value) {
        family.lines += fmt::format("{}{{{}}} {}\n", family.name, labels, value);
      };
      line(calls, totals.calls);
      line(errors, totals.errors);
      line(in, totals.bytes_in);
      line(out, totals.bytes_out);
      uint64_t below = 0;
      for (uint32_t i = 0; i + 1 < bus::kLatencyBuckets; ++i) {
        below += totals.latency[i];
        latency.lines += fmt::format("{}_bucket{{{},le=\"{}\"}} {}\n", latency.name, labels,
                                     static_cast<double>(bus::latency_bound(i)) / 1e9, below);
      }
      latency.lines += fmt::format(
          "{}_bucket{{{},le=\"+Inf\"}} {}\n{}_sum{{{}}} {}\n{}_count{{{}}} {}\n", latency.name,
          labels, totals.calls, latency.name, labels, static_cast<double>(totals.nanoseconds) / 1e9,
          latency.name, labels, totals.calls);
    }
  }

  std::string text;
  for (const Family* family : {&calls, &errors, &in, &out, &latency, &flight, &ready}) {
    text += family->text();
  }
  if (!plugins.processes.empty()) text += process_text(plugins.processes);
  text += fmt::format(
      "# HELP process_resident_memory_bytes Resident memory.\n# TYPE process_resident_memory_bytes "
      "gauge\nprocess_resident_memory_bytes {}\n"
      "# HELP berth_worker_threads Threads of the handler pool.\n# TYPE berth_worker_threads "
      "gauge\nberth_worker_threads {}\n",
      resident_bytes(), bus::workers().threads());
  return text;
}

namespace {

class OpenMetricsServer final : public MetricsServer {
 public:
  OpenMetricsServer(UniqueFd listener, Source source)
      : listener_(std::move(listener)),
        wake_(::eventfd(0, EFD_CLOEXEC)),
        source_(std::move(source)),
        thread_([this] { run(); }) {}
  ~OpenMetricsServer() override {
    const uint64_t one = 1;
    (void)!::write(wake_.get(), &one, sizeof one);
    thread_.join();
  }

 private:
  void run() {
    while (true) {
      pollfd events[2] = {{listener_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
      if (::poll(events, 2, -1) < 0 && errno != EINTR) return;
      if (events[1].revents != 0) return;
      const UniqueFd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (connection) serve(connection.get());
    }
  }

  void serve(int connection) const {
    // A client that sends or reads slowly holds up only other scrapes, and those for two seconds at
    // most.
    const timeval timeout{2, 0};
    ::setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    ::setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    std::string request;
    char buffer[1024];
    while (request.size() < 16384 && request.find("\r\n\r\n") == std::string::npos) {
      const ssize_t got = ::recv(connection, buffer, sizeof buffer, 0);
      if (got <= 0) return;
      request.append(buffer, static_cast<size_t>(got));
    }
    const bool known =
        request.starts_with("GET /v1/metrics ") || request.starts_with("GET /metrics ");
    const std::string body = known ? metrics_text(source_()) : "metrics are at /v1/metrics\n";
    const std::string response = fmt::format(
        "HTTP/1.1 {}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: "
        "{}\r\nConnection: "
        "close\r\n\r\n{}",
        known ? "200 OK" : "404 Not Found", body.size(), body);
    size_t sent = 0;
    while (sent < response.size()) {
      const ssize_t put =
          ::send(connection, response.data() + sent, response.size() - sent, MSG_NOSIGNAL);
      if (put <= 0) return;
      sent += static_cast<size_t>(put);
    }
  }

  UniqueFd listener_;
  UniqueFd wake_;
  Source source_;
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<MetricsServer>> MetricsServer::open(const std::string& address,
                                                           Source source) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) {
    return invalid_argument("serve metrics on \"" + address + "\": the address must be HOST:PORT");
  }
  std::string host = address.substr(0, colon);
  if (host.size() > 1 && host.front() == '[') host = host.substr(1, host.size() - 2);
  const std::string port = address.substr(colon + 1);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const int error =
          ::getaddrinfo(host.empty() ? nullptr : host.c_str(), port.c_str(), &hints, &found);
      error != 0) {
    return invalid_argument("serve metrics on " + address + ": " + ::gai_strerror(error));
  }
  UniqueFd listener(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const bool listening = ::bind(listener.get(), found->ai_addr, found->ai_addrlen) == 0 &&
                         ::listen(listener.get(), 16) == 0;
  const int error = errno;
  ::freeaddrinfo(found);
  if (!listening) return errno_status(error, "serve metrics on " + address);
  return std::unique_ptr<MetricsServer>(
      std::make_unique<OpenMetricsServer>(std::move(listener), std::move(source)));
}

}  // namespace berth::ops
