#include "validate/runner.h"

#include <berth/fd.h>
#include <berth/file_tree.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <sstream>

#include "validate/descendants.h"

extern char** environ;

namespace berth::ctl::validate {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr const char* kContentType = "io.containerd.content.v1";
constexpr const char* kDifferType = "io.containerd.differ.v1";
constexpr const char* kSnapshotterType = "io.containerd.snapshotter.v1";
constexpr const char* kShim = "a shim";       // no type of plugins
constexpr std::chrono::seconds kPatience{2};  // with what was killed
constexpr size_t kMostOutput = 1U << 20;

volatile sig_atomic_t interrupting = 0;

struct Kit {
  std::string_view suite;  // GoogleTest's name
  std::string_view name;   // ours
  Level level;
  bool of_file;           // not of each plugin in it
  std::string_view type;  // of plugins that it is for; empty: all
};

constexpr Kit kKits[] = {
    {"File", "File", Level::kLoads, true, ""},
    {"Loads", "Loads", Level::kLoads, false, ""},
    {"Serves", "Serves", Level::kServes, false, ""},
    {"Plugin/SnapshotterSuite", "Snapshotter", Level::kServes, false, kSnapshotterType},
    {"ContentKit", "Content", Level::kServes, false, kContentType},
    {"DifferKit", "Differ", Level::kServes, false, kDifferType},
    {"ServiceKit", "Service", Level::kServes, false, ""},
    {"Hostile", "Hostile", Level::kHostile, false, ""},
    {"SnapshotterCrash", "SnapshotterCrash", Level::kHostile, false, kSnapshotterType},
    {"ContentCrash", "ContentCrash", Level::kHostile, false, kContentType},
    {"ShimKit", "Shim", Level::kServes, true, kShim},
};

bool fits(const std::string& pattern, const Case& one) {
  const std::string with_plugin = one.plugin + "/" + one.name;
  return ::fnmatch(pattern.c_str(), one.name.c_str(), 0) == 0 ||
         ::fnmatch(pattern.c_str(), with_plugin.c_str(), 0) == 0;
}

std::string last_doing(const std::string& output) {
  constexpr std::string_view kMark = "[ doing    ] ";
  const size_t at = output.rfind(kMark);
  if (at == std::string::npos) return {};
  return output.substr(at + kMark.size(), output.find('\n', at) - at - kMark.size());
}

std::string while_doing(const std::string& output) {
  const std::string what = last_doing(output);
  return what.empty() ? "" : " during: " + what;
}

/// GoogleTest's own words about a truth that did not hold; what the case says is better.
bool is_boilerplate(const std::string& line) {
  return line.starts_with("Value of: ") || line.starts_with("  Actual: ") ||
         line.starts_with("Expected: true") || line.starts_with("Expected: false") ||
         line == "Failed";
}

/// The first thing that an expectation said, on one line.
std::string first_failure(const std::string& output) {
  std::istringstream lines(output);
  std::string text, words;
  bool in_failure = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.find(": Failure") != std::string::npos) {
      if (in_failure) break;
      in_failure = true;
    } else if (in_failure && !line.empty()) {
      if (line[0] == '[') break;
      std::string* part = is_boilerplate(line) ? &words : &text;
      *part += (part->empty() ? "" : "; ") + line;
    }
  }
  if (text.empty()) text = words;
  return text.empty() ? "it ended with an exit code other than 0" : text;
}

std::string skip_reason(const std::string& output) {
  // "file:line: Skipped", then the reason.
  const size_t at = output.find(": Skipped\n");
  if (at == std::string::npos) return "skipped";
  const size_t begin = at + std::strlen(": Skipped\n");
  return output.substr(begin, output.find('\n', begin) - begin);
}

/// Output until the other side closes it; false when the time is over before, or by a signal.
bool read_all(int fd, Clock::time_point end, std::string* out) {
  char buffer[4096];
  sigset_t none;
  ::sigemptyset(&none);
  while (true) {
    const int64_t left = std::max<int64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count(), 0);
    const timespec wait{left / 1000, left % 1000 * 1'000'000};
    pollfd events{fd, POLLIN, 0};
    const int ready = ::ppoll(&events, 1, &wait, &none);
    if (ready < 0 && errno == EINTR && interrupting == 0) continue;
    if (ready <= 0) return false;
    const ssize_t size = ::read(fd, buffer, sizeof buffer);
    if (size <= 0) return true;
    out->append(buffer, static_cast<size_t>(size));
    // The end says how it went; of what is too much, something in the middle goes.
    if (out->size() > kMostOutput) out->erase(kMostOutput / 4, kMostOutput / 2);
  }
}

void judge(int wait_status, CaseResult* out) {
  if (WIFSIGNALED(wait_status)) {
    const int signal = WTERMSIG(wait_status);
    out->verdict = Verdict::kCrashed;
    out->reason = std::string("SIG") +
                  (::sigabbrev_np(signal) == nullptr ? "?" : ::sigabbrev_np(signal)) +
                  while_doing(out->output);
    return;
  }
  if (WEXITSTATUS(wait_status) != 0 || out->output.find("[  FAILED  ]") != std::string::npos) {
    const bool said = out->output.find(": Failure") != std::string::npos;
    out->verdict = Verdict::kFailed;
    out->reason = said ? first_failure(out->output)
                       : "the process ended with exit code " +
                             std::to_string(WEXITSTATUS(wait_status)) + while_doing(out->output);
  } else if (out->output.find("[  SKIPPED ] ") != std::string::npos) {
    out->verdict = Verdict::kSkipped;
    out->reason = skip_reason(out->output);
  } else if (out->output.find("[  PASSED  ] 1 test.") == std::string::npos) {
    // A plugin that calls exit(0) is no plugin that passed.
    out->verdict = Verdict::kCrashed;
    out->reason = "the process ended by itself" + while_doing(out->output);
  } else {
    out->verdict = Verdict::kPassed;
  }
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        // What XML cannot say, and bytes of which nobody knows whether they are UTF-8.
        out += (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c < 0 ? '?' : c;
    }
  }
  return out;
}

}  // namespace

namespace {

void add_suite(const Kit& kit, const std::string& uri, std::vector<Case>* cases) {
  const ::testing::UnitTest& all = *::testing::UnitTest::GetInstance();
  for (int i = 0; i < all.total_test_suite_count(); ++i) {
    const ::testing::TestSuite& suite = *all.GetTestSuite(i);
    if (suite.name() != kit.suite) continue;
    for (int j = 0; j < suite.total_test_count(); ++j) {
      const std::string test = suite.GetTestInfo(j)->name();
      cases->push_back({std::string(kit.name) + "." + test.substr(0, test.find('/')),
                        std::string(suite.name()) + "." + test, uri, kit.level});
    }
  }
}

}  // namespace

std::vector<Case> cases_for(
    const std::vector<std::pair<std::string, std::string>>& uris_and_types) {
  std::vector<Case> cases;
  for (const Level level : {Level::kLoads, Level::kServes, Level::kHostile}) {
    for (const Kit& kit : kKits) {
      if (kit.of_file && kit.type.empty() && kit.level == level) add_suite(kit, {}, &cases);
    }
    for (const auto& [uri, type] : uris_and_types) {
      for (const Kit& kit : kKits) {
        if (kit.of_file || kit.level != level) continue;
        if (kit.type.empty() || kit.type == type) add_suite(kit, uri, &cases);
      }
    }
  }
  return cases;
}

std::vector<Case> cases_for_shim() {
  std::vector<Case> cases;
  for (const Kit& kit : kKits) {
    if (kit.type == kShim) add_suite(kit, {}, &cases);
  }
  return cases;
}

bool matches(const std::string& filter, const Case& one) {
  std::istringstream list(filter);
  bool any_wanted = false, wanted = false;
  for (std::string pattern; std::getline(list, pattern, ':');) {
    if (pattern.starts_with('-')) {
      if (fits(pattern.substr(1), one)) return false;
    } else {
      any_wanted = true;
      wanted = wanted || fits(pattern, one);
    }
  }
  return wanted || !any_wanted;
}

void stop_on_signals() {
  struct sigaction action {};
  action.sa_handler = [](int signal) { interrupting = signal; };
  sigset_t stopping;
  ::sigemptyset(&stopping);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    ::sigaction(signal, &action, nullptr);
    ::sigaddset(&stopping, signal);
  }
  // Taken where a case is waited for, and nowhere else.
  ::sigprocmask(SIG_BLOCK, &stopping, nullptr);
}

int interrupted() { return interrupting; }

void end_by_signal(int signal) {
  ::signal(signal, SIG_DFL);
  ::raise(signal);
  sigset_t one;
  ::sigemptyset(&one);
  ::sigaddset(&one, signal);
  ::sigprocmask(SIG_UNBLOCK, &one, nullptr);
}

CaseResult run_in_process_of_its_own(const Case& one, const ProcessOptions& options) {
  CaseResult out;
  out.of = one;
  std::string scratch = (fs::temp_directory_path() / "berth-validate-XXXXXX").string();
  int ends[2];
  if (::mkdtemp(scratch.data()) == nullptr || ::pipe2(ends, O_CLOEXEC) != 0) {
    out.reason = errno_status(errno, "make a directory and a pipe for the case").message();
    return out;
  }
  const Cleanup remove([&] { (void)remove_tree(scratch); });
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);

  std::vector<std::string> words = {"berthctl"};
  words.insert(words.end(), options.arguments.begin(), options.arguments.end());
  for (const std::string& word :
       {std::string("--case"), one.gtest, std::string("--plugin"), one.plugin}) {
    words.push_back(word);
  }
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const std::string temporary = "TMPDIR=" + scratch;
  std::vector<char*> environment = {const_cast<char*>(temporary.c_str())};
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (std::strncmp(*variable, "TMPDIR=", 7) != 0) environment.push_back(*variable);
  }
  environment.push_back(nullptr);

  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, writer.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&files, writer.get(), STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
  sigset_t none;
  ::sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setpgroup(&attributes, 0);
  adopt_orphans();
  const std::set<pid_t> others = children();
  pid_t pid = -1;
  const auto began = Clock::now();
  const int error =
      ::posix_spawn(&pid, "/proc/self/exe", &files, &attributes, argv.data(), environment.data());
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  writer.reset();
  if (error != 0) {
    out.reason = errno_status(error, "start a process for the case").message();
    return out;
  }
  const bool closed = read_all(reader.get(), began + options.timeout, &out.output);
  if (!closed) ::kill(-pid, SIGKILL);
  int wait_status = 0;
  while (::waitpid(pid, &wait_status, 0) < 0 && errno == EINTR) {
  }
  ::kill(-pid, SIGKILL);  // what it may have left
  (void)end_children(others, kPatience);
  out.seconds = std::chrono::duration<double>(Clock::now() - began).count();
  if (!closed) {
    out.verdict = Verdict::kHung;
    out.reason = interrupting != 0
                     ? "interrupted"
                     : "it did not end in " + std::to_string(options.timeout.count()) + " s" +
                           while_doing(out.output);
  } else {
    judge(wait_status, &out);
  }
  const bool cut_short = out.verdict == Verdict::kHung || out.verdict == Verdict::kCrashed;
  if (cut_short && options.clean_up) {
    options.clean_up(scratch);
    (void)end_children(others, kPatience);
  }
  return out;
}

std::string_view verdict_name(Verdict verdict) {
  switch (verdict) {
    case Verdict::kPassed:
      return "ok";
    case Verdict::kFailed:
      return "FAILED";
    case Verdict::kSkipped:
      return "skipped";
    case Verdict::kCrashed:
      return "CRASHED";
    case Verdict::kHung:
      return "HUNG";
  }
  return "?";
}

std::string junit(const std::string& suite, const std::vector<CaseResult>& results) {
  size_t failures = 0, errors = 0, skipped = 0;
  double seconds = 0;
  std::string cases;
  for (const CaseResult& one : results) {
    seconds += one.seconds;
    char time[32];
    std::snprintf(time, sizeof time, "%.3f", one.seconds);
    cases += "  <testcase classname=\"" + escaped(one.of.plugin.empty() ? suite : one.of.plugin) +
             "\" name=\"" + escaped(one.of.name) + "\" time=\"" + time + "\"";
    const std::string reason = escaped(one.reason);
    switch (one.verdict) {
      case Verdict::kPassed:
        cases += "/>\n";
        continue;
      case Verdict::kSkipped:
        ++skipped;
        cases += ">\n    <skipped message=\"" + reason + "\"/>\n";
        break;
      case Verdict::kFailed:
        ++failures;
        cases +=
            ">\n    <failure message=\"" + reason + "\">" + escaped(one.output) + "</failure>\n";
        break;
      case Verdict::kCrashed:
      case Verdict::kHung:
        ++errors;
        cases += ">\n    <error type=\"" + std::string(verdict_name(one.verdict)) +
                 "\" message=\"" + reason + "\">" + escaped(one.output) + "</error>\n";
        break;
    }
    cases += "  </testcase>\n";
  }
  char time[32];
  std::snprintf(time, sizeof time, "%.3f", seconds);
  return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"" + escaped(suite) +
         "\" tests=\"" + std::to_string(results.size()) + "\" failures=\"" +
         std::to_string(failures) + "\" errors=\"" + std::to_string(errors) + "\" skipped=\"" +
         std::to_string(skipped) + "\" time=\"" + time + "\">\n" + cases + "</testsuite>\n";
}

}  // namespace berth::ctl::validate
