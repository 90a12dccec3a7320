// The command line of a shim, as daemons use it: "start" answers with the address of a shim that serves the container, "delete" cleans up
// after one that was killed. The working directory is the bundle.
#include <berth/digest.h>
#include <berth/ttrpc/client.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "containerd/services/ttrpc/events/v1/events.pb.h"
#include "service.h"

namespace {

using @ident@_plugin::Service;

struct Arguments {
  std::string ns, id, command;
};

Arguments parse(int argc, char** argv) {
  Arguments out;
  for (int i = 1; i < argc; ++i) {
    std::string word = argv[i];
    if (word.starts_with("--")) word.erase(0, 1);
    const bool has_value = i + 1 < argc;
    if (word == "-v") {
      out.command = "version";
    } else if (word == "-debug") {
    } else if (word.starts_with('-') && has_value) {
      const std::string value = argv[++i];
      if (word == "-namespace") out.ns = value;
      if (word == "-id") out.id = value;
    } else {
      out.command = word;
    }
  }
  return out;
}

std::string socket_of(const Arguments& arguments) {
  return "/run/@name@/" + std::string(berth::digest_of(arguments.ns + "/" + arguments.id).hex());
}

int complain(const berth::Status& status) {
  std::fprintf(stderr, "%s\n", status.message().c_str());
  return 1;
}

/// Events go to the daemon's ttrpc socket; what cannot be told is lost. A shim that must not lose any keeps them and tries again.
void publish(const std::shared_ptr<berth::ttrpc::Loop>& loop, const std::string& ns, const std::string& topic,
             const google::protobuf::MessageLite& event) {
  const char* const address = std::getenv("TTRPC_ADDRESS");
  if (address == nullptr) return;
  const int64_t deadline = berth::ttrpc::monotonic_ns() + 2'000'000'000;
  auto client = berth::ttrpc::Client::connect(loop, address, deadline);
  if (!client.ok()) return;
  containerd::services::events::ttrpc::v1::ForwardRequest request;
  auto& envelope = *request.mutable_envelope();
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  envelope.mutable_timestamp()->set_seconds(now.tv_sec);
  envelope.mutable_timestamp()->set_nanos(static_cast<int32_t>(now.tv_nsec));
  envelope.set_namespace_(ns);
  envelope.set_topic(topic);
  envelope.mutable_event()->set_type_url(event.GetTypeName());
  envelope.mutable_event()->set_value(event.SerializeAsString());
  std::string answer;
  (void)(*client)->call("containerd.services.events.ttrpc.v1.Events", "Forward", request.SerializeAsString(), {deadline, {}}, &answer);
}

int serve(const Arguments& arguments, berth::UniqueFd listening) {
  // The end of the program is a signal, which a thread of its own waits for: this one.
  sigset_t end;
  ::sigemptyset(&end);
  ::sigaddset(&end, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &end, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  auto loop = berth::ttrpc::Loop::start();
  if (!loop.ok()) return complain(loop.status());
  Service service(arguments.id, [loop = *loop, ns = arguments.ns](const std::string& topic, const google::protobuf::MessageLite& event) {
    publish(loop, ns, topic, event);
  });
  auto server = berth::ttrpc::Server::serve(
      *loop, std::move(listening), [&service](berth::ttrpc::Request request, berth::ttrpc::Responder responder) {
        // The handler must not block, and the service may.
        std::thread([&service, request = std::move(request), responder = std::move(responder)] { service.handle(request, responder); }).detach();
      });
  if (!server.ok()) return complain(server.status());
  int signal = 0;
  ::sigwait(&end, &signal);
  (void)::unlink(socket_of(arguments).c_str());
  ::_exit(0);
}

int start(const Arguments& arguments) {
  const std::string socket = socket_of(arguments);
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(socket).parent_path(), ignored);
  auto listening = berth::ttrpc::listen_unix(socket, 0600);
  if (!listening.ok()) return complain(listening.status());
  const pid_t pid = ::fork();
  if (pid < 0) return complain(berth::errno_status(errno, "make a process"));
  if (pid > 0) {
    std::ofstream("address") << "unix://" << socket;  // by which containerd 1.6 finds the shim again after a start of its own
    std::printf("unix://%s", socket.c_str());
    return 0;
  }
  ::setsid();
  // The daemon waits for the end of "start" and of its output; what is written from now on is in the daemon's log.
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  const int log = ::open("log", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  ::dup2(null, STDIN_FILENO);
  ::dup2(null, STDOUT_FILENO);
  ::dup2(log < 0 ? null : log, STDERR_FILENO);
  return serve(arguments, std::move(*listening));
}

int clean_up(const Arguments& arguments) {
  pid_t pid = 0;
  std::ifstream("init.pid") >> pid;
  if (pid > 1) {
    ::kill(-pid, SIGKILL);
    for (int i = 0; i < 200 && ::kill(pid, 0) == 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  (void)::unlink(socket_of(arguments).c_str());
  @ident@_plugin::api::DeleteResponse response;
  response.set_pid(static_cast<uint32_t>(pid));
  response.set_exit_status(128 + SIGKILL);
  response.mutable_exited_at()->set_seconds(::time(nullptr));
  const std::string bytes = response.SerializeAsString();
  return std::fwrite(bytes.data(), 1, bytes.size(), stdout) == bytes.size() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments = parse(argc, argv);
  if (arguments.command == "version") {
    std::printf("%s:\n  Version:  0.1.0\n", argv[0]);
    return 0;
  }
  if (arguments.id.empty() || arguments.ns.empty()) {
    std::fprintf(stderr, "usage: %s -namespace NS -id ID start|delete; daemons run it\n", argv[0]);
    return 2;
  }
  if (arguments.command == "start") return start(arguments);
  if (arguments.command == "delete") return clean_up(arguments);
  std::fprintf(stderr, "there is no command \"%s\"\n", arguments.command.c_str());
  return 2;
}
