// containerd-shim-runc-v2: stands between a daemon and its containers, and outlives it.
#include <berth/fault.h>
#include <berth/ttrpc/server.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "arguments.h"
#include "bootstrap.h"
#include "files.h"
#include "info.h"
#include "log.h"
#include "remove.h"
#include "service.h"

namespace berth::shim {
namespace {

constexpr int kListeningFd = 3;  // from `start`

int print(const Result<std::string>& outcome) {
  if (!outcome.ok()) {
    std::fprintf(stderr, "containerd-shim-runc-v2: %s\n", outcome.status().message().c_str());
    return 1;
  }
  std::string_view rest = *outcome;
  while (!rest.empty()) {
    const ssize_t written = ::write(1, rest.data(), rest.size());
    if (written <= 0) return 1;
    rest.remove_prefix(static_cast<size_t>(written));
  }
  return 0;
}

std::string ttrpc_address(const Arguments& arguments) {
  if (const char* const named = ::getenv("TTRPC_ADDRESS"); named != nullptr && *named != '\0') {
    return named;
  }
  return arguments.address + ".ttrpc";
}

int fail(const Status& status) {
  log(Level::kError, "serve tasks: " + status.message());
  return 1;
}

int serve(const Arguments& arguments) {
  BERTH_FAULT_POINT("shim.serve.begin");
  ::signal(SIGPIPE, SIG_IGN);
  // Whoever ends the daemon's process group or session does not mean the containers.
  for (const int number : {SIGHUP, SIGINT, SIGTERM}) ::signal(number, SIG_IGN);
  ::fcntl(kListeningFd, F_SETFD, FD_CLOEXEC);
  // What the service manager wants of the daemon is none of the containers' business.
  ::unsetenv("NOTIFY_SOCKET");
  ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  open_log(arguments.ns, arguments.id, arguments.debug);
  auto loop = ttrpc::Loop::start();
  if (!loop.ok()) return fail(loop.status());
  auto publisher = std::make_shared<Publisher>(*loop, ttrpc_address(arguments), arguments.ns);
  // For ever: the process ends by _exit() while threads use it.
  auto* const service =
      new Service(*loop, publisher,
                  {arguments.ns, socket_path(arguments.address, arguments.ns, arguments.id),
                   [] { ::_exit(0); }});
  ttrpc::ServerLimits limits;
  limits.requests = 1 << 16;  // a daemon waits for each process on one connection
  auto server = ttrpc::Server::serve(
      *loop, UniqueFd(kListeningFd),
      [service](ttrpc::Request request, ttrpc::Responder responder) {
        service->handle(std::move(request), std::move(responder));
      },
      limits);
  if (!server.ok()) return fail(server.status());
  BERTH_FAULT_POINT("shim.serve.listening");
  service->children().serve();
}

int run(std::span<char* const> words) {
  // One heap for all threads, and what is freed goes back: a shim is idle most of its life.
  ::mallopt(M_ARENA_MAX, 1);
  ::mallopt(M_TRIM_THRESHOLD, 64 << 10);
  const auto arguments = parse_arguments(words);
  if (!arguments.ok()) {
    std::fprintf(stderr, "%s\n", arguments.status().message().c_str());
    return 2;
  }
  if (arguments->version) {
    std::printf("containerd-shim-runc-v2:\n  Version:  %s\n  Revision: berth\n\n", BERTH_VERSION);
    std::fflush(stdout);
    return 0;
  }
  if (arguments->info) return print(runtime_info(read_all(0)));
  if (arguments->ns.empty()) {
    return print(invalid_argument("shim namespace cannot be empty"));
  }
  if (arguments->action == "start") return print(start(*arguments));
  if (arguments->action == "delete") return print(remove_leftovers(*arguments));
  if (!arguments->action.empty()) {
    return print(invalid_argument("unknown action " + arguments->action));
  }
  return serve(*arguments);
}

}  // namespace
}  // namespace berth::shim

// Without destructors: other threads may still be at work.
int main(int argc, char** argv) {
  ::_exit(berth::shim::run(std::span<char* const>(argv, static_cast<size_t>(argc)).subspan(1)));
}
