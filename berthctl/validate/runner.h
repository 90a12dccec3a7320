// Runs cases, each in a process of its own, and tells what became of them.
#pragma once

#include <berth/status.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace berth::ctl::validate {

/// In order: each includes those before it.
enum class Level { kLoads, kServes, kHostile };

struct Case {
  std::string name;    // "Hostile.CancelledCalls", as users see it
  std::string gtest;   // the same as GoogleTest has it
  std::string plugin;  // URI; empty: of the file as a whole
  Level level;
};

enum class Verdict { kPassed, kFailed, kSkipped, kCrashed, kHung };

struct CaseResult {
  Case of;
  Verdict verdict = Verdict::kFailed;
  std::string reason;  // one line; empty when it passed
  std::string output;  // all that the process wrote
  double seconds = 0;
};

/// Every case that there is for these plugins; GoogleTest must have been initialized. `types`: the
/// type of each URI, which decides about the kits.
std::vector<Case> cases_for(const std::vector<std::pair<std::string, std::string>>& uris_and_types);

/// Those for a shim, which is a program and no plugin.
std::vector<Case> cases_for_shim();

/// Patterns with * and ?, separated by colons, of which one must match NAME or URI/NAME; those that
/// begin with '-' must not match.
bool matches(const std::string& filter, const Case& one);

struct ProcessOptions {
  std::vector<std::string> arguments;  // of berthctl, without those that choose the case
  std::chrono::seconds timeout{60};
  /// After a case that did not end by itself, and the end of its processes: what it left of other
  /// things in the temporary directory that it had, and elsewhere.
  std::function<void(const std::string& temporary)> clean_up;
};

/// Runs berthctl again for the one case, with a temporary directory of its own, and waits. What it
/// has started is killed after it.
CaseResult run_in_process_of_its_own(const Case& one, const ProcessOptions& options);

/// From here on SIGINT, SIGTERM and SIGHUP end the case that runs as a timeout would, so that
/// nothing of it is left. Before the first case; this process has no other thread.
void stop_on_signals();
/// The signal that came, or 0.
int interrupted();
/// Ends this process as the signal would have.
void end_by_signal(int signal);

std::string_view verdict_name(Verdict verdict);
/// A file in JUnit's format.
std::string junit(const std::string& suite, const std::vector<CaseResult>& results);

}  // namespace berth::ctl::validate
