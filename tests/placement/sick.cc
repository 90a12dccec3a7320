// Does what the name of the method says. Which step fails, and how, is configured.
#include <berth/plugin.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <thread>

namespace {

using berth::Message;
using berth::ServerCall;
using berth::Status;

[[noreturn]] void crash() { __builtin_trap(); }

[[noreturn]] void hang() {
  while (true) std::this_thread::sleep_for(std::chrono::seconds(1));
}

Status perform(const berth::Self& self, const std::string& step) {
  const std::string fails(self.config("fails"));
  if (!fails.starts_with(step + ":")) return {};
  const std::string how = fails.substr(step.size() + 1);
  if (how == "crash") crash();
  if (how == "hang") hang();
  if (how == "exit") ::_exit(3);
  if (how == "once") {  // per root
    const std::string mark = std::string(self.property("root")) + "/has-failed";
    const int fd = ::open(mark.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return {};
    ::close(fd);
  }
  if (how == "skip") return berth::failed_precondition("this machine lacks it");
  return berth::internal_error("the " + step + " went wrong");
}

class Sick final : public berth::Service {
 public:
  explicit Sick(const berth::Self& self) : self_(self) {}

  static Status probe(const berth::Self& self) { return perform(self, "probe"); }
  static berth::Result<std::unique_ptr<Sick>> create(const berth::Self& self) {
    if (Status status = perform(self, "init"); !status.ok()) return status;
    auto sick = std::make_unique<Sick>(self);
    if (self.bound("peer") != 0) sick->peer_ = self.connect("peer");
    return sick;
  }
  Status start() {
    self_.log(BERTH_LOG_INFO, "sick has started");
    const std::string habits(self_.config("habits"));
    if (habits.find("hold") != std::string::npos) hold(64U << 20);
    if (habits.find("burn") != std::string::npos) burn();
    if (habits.find("beat") != std::string::npos) {
      std::thread([self = self_] {
        while (true) {
          self.log(BERTH_LOG_DEBUG, "beat");
          std::this_thread::sleep_for(std::chrono::milliseconds(50));
        }
      }).detach();
    }
    return perform(self_, "start");
  }
  void stop(int64_t) { (void)perform(self_, "stop"); }

  static constexpr berth_method kMethods[] = {
      {{"Pid", sizeof("Pid") - 1, 0}, 0, 0},
      {{"Crash", sizeof("Crash") - 1, 0}, 0, 0},
      {{"Exit", sizeof("Exit") - 1, 0}, 0, 0},
      {{"Hang", sizeof("Hang") - 1, 0}, 0, 0},
      {{"Spin", sizeof("Spin") - 1, 0}, BERTH_METHOD_NO_BLOCK, 0},
      {{"Leak", sizeof("Leak") - 1, 0}, 0, 0},
      {{"Garbage", sizeof("Garbage") - 1, 0}, 0, 0},
      {{"Property", sizeof("Property") - 1, 0}, 0, 0},
      {{"Config", sizeof("Config") - 1, 0}, 0, 0},
      {{"AskPeer", sizeof("AskPeer") - 1, 0}, 0, 0},
      {{"Unhealthy", sizeof("Unhealthy") - 1, 0}, 0, 0},
      {{"Ticks", sizeof("Ticks") - 1, 0}, BERTH_METHOD_SERVER_STREAM, 0},
      {{"Grab", sizeof("Grab") - 1, 0}, 0, 0},
      {{"Log", sizeof("Log") - 1, 0}, 0, 0},
  };

  void handle(uint32_t method, ServerCall call) override {
    const std::string request(call.request_bytes());
    switch (method) {
      case 0:
        return call.finish(Message::copy_of(std::to_string(::getpid())));
      case 1:
        crash();
      case 2:
        ::_exit(7);
      case 3:
      case 4:
        hang();
      case 5:
        leak(call);
        break;
      case 6:
        garbage();
        break;
      case 7:
        return call.finish(Message::copy_of(self_.property(request)));
      case 8:
        return call.finish(Message::copy_of(self_.config(request)));
      case 9:
        return call.forward(peer_, peer_.resolve("berth.test.v1.Peer/Echo"));
      case 10:
        berth::detail::host->unhealthy(self_.raw(), berth::str("it feels unwell"));
        break;
      case 11:
        while (call.send(Message::copy_of("tick")) == BERTH_OK) {
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        break;
      case 12:
        ::free(hold(300U << 20));
        break;
      case 13:
        self_.log(BERTH_LOG_DEBUG, "a line for debugging");
        self_.log(BERTH_LOG_INFO, "a line for everybody");
        break;
      default:
        break;
    }
    call.finish(Status());
  }

  static const berth_service& service() {
    static const berth_service table = {sizeof(berth_service),
                                        std::size(kMethods),
                                        berth::str("berth.test.v1.Sick"),
                                        kMethods,
                                        {nullptr, 0, nullptr, nullptr, 0}};
    return table;
  }

 private:
  static void* hold(size_t bytes) {
    void* all = ::malloc(bytes);
    if (all != nullptr) ::memset(all, 1, bytes);
    asm volatile("" : : "r"(all) : "memory");  // or a compiler saves itself the work
    return all;
  }

  static void burn() {
    timespec used{};
    do {
      ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    } while (used.tv_sec == 0 && used.tv_nsec < 300'000'000);
  }

  static void leak(const ServerCall& call) {
    constexpr size_t kPiece = 4 << 20;
    constexpr size_t kMost = 400 << 20;  // where nobody stops it
    for (size_t had = 0; !call.cancelled(); had += kPiece) {
      auto* piece = had < kMost ? static_cast<char*>(::malloc(kPiece)) : nullptr;
      if (piece != nullptr) ::memset(piece, 1, kPiece);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  /// Into what its process has as the link, which a plugin has no business with.
  static void garbage() {
    const std::string noise(64, '\x5a');
    for (int fd = 3; fd < 64; ++fd) {
      struct stat info {};
      if (::fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode)) {
        (void)!::write(fd, noise.data(), noise.size());
      }
    }
    hang();
  }

  const berth::Self self_;
  berth::Target peer_;
};

}  // namespace

BERTH_PLUGIN("berth.test.v1", "sick", Sick);
