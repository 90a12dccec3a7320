// berthctl plugin validate: the cases of validate/ against one plugin file.
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>

#include "command.h"
#include "config/config.h"
#include "manifest/manifest.h"
#include "ops/logging.h"
#include "validate/kits/shim_leftovers.h"
#include "validate/runner.h"
#include "validate/under_test.h"

namespace berth::ctl {
namespace {

using validate::Case;
using validate::CaseResult;
using validate::Level;
using validate::Verdict;

const std::map<std::string, Level> kLevels = {
    {"loads", Level::kLoads}, {"serves", Level::kServes}, {"hostile", Level::kHostile}};

struct Options {
  std::string command = "plugin";  // or "shim"
  std::string file;
  std::string plugin;
  std::string level = "hostile";
  std::string filter;
  std::string config;
  std::string junit;
  std::string one_case;  // GoogleTest's name: this process is one that another started
  std::string placement = "host";
  std::string remote;
  std::string snapshotter;
  std::vector<std::string> peers;  // NAME=ID
  uint64_t seed = 0;
  int64_t timeout_s = 60;
  bool in_process = false;
  bool list = false;
  bool verbose = false;
};

void init_gtest(const std::string& filter) {
  // What the environment says of GoogleTest is not meant for us.
  for (const char* name : {"GTEST_FILTER", "GTEST_OUTPUT", "GTEST_SHUFFLE", "GTEST_REPEAT",
                           "GTEST_TOTAL_SHARDS", "GTEST_SHARD_INDEX", "GTEST_SHARD_STATUS_FILE"}) {
    ::unsetenv(name);
  }
  int argc = 1;
  char name[] = "berthctl";
  char* argv[] = {name, nullptr};
  ::testing::InitGoogleTest(&argc, argv);
  GTEST_FLAG_SET(filter, filter);
  GTEST_FLAG_SET(print_time, false);
  GTEST_FLAG_SET(color, "no");
}

int complain(const std::string& text) {
  std::fprintf(stderr, "berthctl: %s\n", text.c_str());
  return kNo;
}

/// The plugin's configuration as the daemon would give it.
Result<std::string> config_of(const manifest::Plugin& plugin, const std::string& file) {
  BERTH_ASSIGN_OR_RETURN(const config::Config config, config::Config::load(file, {}));
  std::vector<config::Diagnostic> diagnostics;
  std::string json = config.plugin_json(plugin, &diagnostics);
  if (!diagnostics.empty()) return invalid_argument(diagnostics.front().to_string());
  return json;
}

/// The stand-ins by the names of requirements. INVALID_ARGUMENT for one that no plugin has.
Result<std::map<std::string, std::vector<std::string>>> peers_of(const Options& options) {
  std::map<std::string, std::vector<std::string>> peers;
  if (options.peers.empty()) return peers;
  BERTH_ASSIGN_OR_RETURN(const manifest::Manifest read, manifest::read_manifest(options.file));
  std::map<std::string, manifest::Cardinality> known;
  std::string names;
  for (const manifest::Plugin& plugin : read.plugins) {
    for (const manifest::Requirement& need : plugin.requires_) {
      if (need.order_only) continue;
      const auto [entry, is_new] = known.emplace(need.name, need.cardinality);
      if (is_new) names += (names.empty() ? "" : ", ") + need.name;
      if (need.cardinality == manifest::Cardinality::kAll) entry->second = need.cardinality;
    }
  }
  for (const std::string& peer : options.peers) {
    const size_t equals = peer.find('=');
    const std::string name = peer.substr(0, equals);
    const std::string wrong = "bind a stand-in by --peer " + peer + ": ";
    if (equals == std::string::npos || name.empty() || equals + 1 == peer.size()) {
      return invalid_argument(wrong + "write NAME=ID, the name of a requirement and an id");
    }
    const auto found = known.find(name);
    if (found == known.end()) {
      return invalid_argument(wrong + "no plugin of " + options.file + " requires \"" + name +
                              "\"; there " +
                              (names.empty() ? "are no requirements" : "is " + names));
    }
    if (found->second != manifest::Cardinality::kAll && peers.contains(name)) {
      return invalid_argument(wrong + "\"" + name + "\" takes one plugin, and there is " +
                              peers[name].front() + " already");
    }
    peers[name].push_back(peer.substr(equals + 1));
  }
  return peers;
}

/// Runs cases here; for one that another process asked for, and for a debugger.
int run_here(const Options& options, const std::string& gtest_filter, const std::string& plugin) {
  auto& subject = validate::subject();
  subject = {options.file,      plugin,         options.seed,       "{}",
             options.placement, options.remote, options.snapshotter};
  if (auto peers = peers_of(options); peers.ok()) subject.peers = *std::move(peers);
  if (const auto read = manifest::read_manifest(options.file); read.ok()) {
    for (const manifest::Plugin& one : read->plugins) {
      if (!plugin.empty() && one.uri() != plugin) continue;
      const auto json = config_of(one, options.config);
      if (!json.ok()) return complain(json.status().message());
      subject.config_json = *json;
    }
  }
  (void)ops::configure_log("warn", "text");
  init_gtest(gtest_filter);
  const int code = RUN_ALL_TESTS();
  std::fflush(nullptr);
  // Plugins' threads and static objects are left as they are, as by the daemon.
  ::_exit(code);
}

std::string case_title(const Case& one) {
  return one.plugin.empty() ? one.name : one.plugin + " " + one.name;
}

void print(const CaseResult& result, bool verbose) {
  std::printf("%-8s %s (%.1f s)%s%s\n", std::string(validate::verdict_name(result.verdict)).c_str(),
              case_title(result.of).c_str(), result.seconds, result.reason.empty() ? "" : ": ",
              result.reason.c_str());
  if (verbose) std::printf("%s\n", result.output.c_str());
  std::fflush(stdout);
}

/// What else was given and decides how a case goes, as words of a command.
std::vector<std::string> setting_words(const Options& options) {
  std::vector<std::string> words;
  if (!options.config.empty()) words.insert(words.end(), {"--config", options.config});
  for (const std::string& peer : options.peers) words.insert(words.end(), {"--peer", peer});
  return words;
}

std::string setting(const Options& options) {
  std::string text;
  for (const std::string& word : setting_words(options)) text += " " + word;
  return text;
}

int summarize(const Options& options, const std::vector<CaseResult>& results) {
  std::map<Verdict, size_t> count;
  for (const CaseResult& one : results) ++count[one.verdict];
  const size_t bad = count[Verdict::kFailed] + count[Verdict::kCrashed] + count[Verdict::kHung];
  std::printf("%zu cases: %zu ok, %zu failed, %zu crashed, %zu hung, %zu skipped; seed %llu\n",
              results.size(), count[Verdict::kPassed], count[Verdict::kFailed],
              count[Verdict::kCrashed], count[Verdict::kHung], count[Verdict::kSkipped],
              static_cast<unsigned long long>(options.seed));
  if (bad != 0) {
    for (const CaseResult& one : results) {
      if (one.verdict == Verdict::kPassed || one.verdict == Verdict::kSkipped) continue;
      std::printf("again:   berthctl %s validate %s --seed %llu --filter '%s'%s --in-process\n",
                  options.command.c_str(), options.file.c_str(),
                  static_cast<unsigned long long>(options.seed), one.of.name.c_str(),
                  (setting(options) +
                   (one.of.plugin.empty() ? std::string() : " --plugin " + one.of.plugin))
                      .c_str());
    }
  }
  if (!options.junit.empty()) {
    std::ofstream file(options.junit);
    file << validate::junit(options.file, results) << std::flush;
    if (!file) return complain("write " + options.junit + ": " + std::strerror(errno));
  }
  return bad == 0 ? 0 : kNo;
}

std::vector<CaseResult> run_apart(const Options& options, const std::vector<Case>& cases) {
  validate::ProcessOptions process;
  process.timeout = std::chrono::seconds(options.timeout_s);
  process.arguments = {options.command, "validate", options.file, "--seed",
                       std::to_string(options.seed)};
  if (options.command == "shim") {
    process.clean_up = [&options](const std::string& temporary) {
      validate::clean_up_after_shims(temporary, options.file);
    };
  }
  for (const std::string& word : setting_words(options)) process.arguments.push_back(word);
  for (const auto& [name, value] :
       {std::pair("--placement", options.placement), std::pair("--remote", options.remote),
        std::pair("--snapshotter", options.snapshotter)}) {
    if (options.command == "plugin" && !value.empty()) {
      process.arguments.insert(process.arguments.end(), {name, value});
    }
  }
  validate::stop_on_signals();
  std::vector<CaseResult> results;
  std::map<std::string, bool> loads;  // by URI; "" for the file
  const auto good = [&](const std::string& uri) { return !loads.contains(uri) || loads[uri]; };
  for (const Case& one : cases) {
    CaseResult result;
    const bool worth_trying = one.level == Level::kLoads || good(one.plugin);
    if (!one.plugin.empty() && !(good("") && worth_trying)) {
      result.of = one;
      result.verdict = Verdict::kSkipped;
      result.reason = "it does not load";
    } else {
      result = validate::run_in_process_of_its_own(one, process);
    }
    const bool passed = result.verdict == Verdict::kPassed || result.verdict == Verdict::kSkipped;
    if (one.level == Level::kLoads) loads[one.plugin] = good(one.plugin) && passed;
    print(result, options.verbose);
    results.push_back(std::move(result));
    if (const int signal = validate::interrupted(); signal != 0) validate::end_by_signal(signal);
  }
  return results;
}

/// Keeps those that were asked for, lists or runs them.
int run_some(const Options& options, std::vector<Case> cases, const std::string& only_plugin) {
  std::erase_if(cases, [&](const Case& one) {
    return one.level > kLevels.at(options.level) || !validate::matches(options.filter, one);
  });
  if (cases.empty()) return complain("no case of this level matches --filter " + options.filter);
  if (options.list) {
    for (const Case& one : cases) std::printf("%s\n", case_title(one).c_str());
    return 0;
  }
  if (options.in_process) {
    std::string filter;
    for (const Case& one : cases) filter += (filter.empty() ? "" : ":") + one.gtest;
    std::printf("seed %llu\n", static_cast<unsigned long long>(options.seed));
    return run_here(options, filter, only_plugin);
  }
  return summarize(options, run_apart(options, cases));
}

int run(const Options& given) {
  Options options = given;
  if (options.seed == 0) options.seed = std::random_device()();
  if (!options.one_case.empty()) return run_here(options, options.one_case, options.plugin);

  init_gtest("*");
  if (options.command == "shim") {
    std::error_code error;
    options.file = std::filesystem::absolute(options.file, error);
    return run_some(options, validate::cases_for_shim(), {});
  }
  std::vector<std::pair<std::string, std::string>> plugins;
  const auto read = manifest::read_manifest(options.file);
  if (read.ok()) {
    for (const manifest::Plugin& one : read->plugins) {
      if (!options.plugin.empty() && one.uri() != options.plugin) continue;
      plugins.emplace_back(one.uri(), one.type);
      // Else each case would find it out by itself.
      const auto json = config_of(one, options.config);
      if (!json.ok()) return complain(json.status().message());
    }
    if (plugins.empty()) return complain(options.file + " has no plugin " + options.plugin);
    const auto peers = peers_of(options);
    if (!peers.ok()) return complain(peers.status().message());
  }
  if (options.in_process && plugins.size() > 1) {
    return complain("--in-process is for one plugin: give --plugin URI");
  }
  return run_some(options, validate::cases_for(plugins),
                  plugins.empty() ? std::string() : plugins.front().first);
}

/// What both commands have.
void add_common(CLI::App* command, Options* options) {
  command->add_option("--seed", options->seed,
                      "of what is random, printed at the end; the same gives the same cases");
  command->add_option("--timeout", options->timeout_s, "seconds for one case (default: 60)")
      ->check(CLI::Range(kShortestTimeout, kLongestTimeout));
  command->add_option("--junit", options->junit, "write the outcome to this file, too");
  command->add_flag("--in-process", options->in_process,
                    "run the cases in this process, for a debugger");
  command->add_flag("--list", options->list, "print the names of the cases and run none");
  command->add_flag("--verbose", options->verbose, "print what the cases write");
  command->add_option("--case", options->one_case)->group("");  // between our own processes
}

}  // namespace

void add_validate(CLI::App& plugin, Action* action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = plugin.add_subcommand(
      "validate", "run a plugin under everything that a host and clients may do to it");
  command->add_option("file", options->file, "the plugin, a .so")->required();
  command
      ->add_option("--level", options->level,
                   "how far to go: loads, serves, or hostile (the default, which is all)")
      ->check(CLI::IsMember({"loads", "serves", "hostile"}));
  command->add_option("--filter", options->filter,
                      "only cases whose name, or URI/name, matches: patterns with * separated by "
                      "colons; those that begin with - must not match");
  command->add_option("--plugin", options->plugin, "only this plugin of the file, as TYPE.ID");
  command->add_option(
      "--config,-c", options->config,
      "a configuration whose section of the plugin it gets (default: its defaults)");
  command->add_option("--peer", options->peers,
                      "NAME=ID: bind the requirement NAME to a stand-in with this id, which serves "
                      "nothing; several of cardinality \"all\" (default: one for each requirement "
                      "of cardinality \"one\")");
  // For our own tests, that the kit is about the contract and not about one way to reach a plugin:
  // where the kit of the plugin's type has it. `daemon`: another daemon's, in place of the file's.
  command->add_option("--placement", options->placement)
      ->check(CLI::IsMember({"host", "process", "proxy", "daemon"}))
      ->group("");
  command->add_option("--remote", options->remote)->group("");
  command->add_option("--snapshotter", options->snapshotter)->group("");
  add_common(command, options.get());
  on_chosen(command, action, options, run);
}

void add_shim_validate(CLI::App& shim, Action* action) {
  auto options = std::make_shared<Options>();
  options->command = "shim";
  CLI::App* command = shim.add_subcommand(
      "validate", "run a shim program through all that a daemon asks of one (root)");
  command->add_option("program", options->file, "the shim, such as containerd-shim-runc-v2")
      ->required()
      ->check(CLI::ExistingFile);
  command->add_option("--filter", options->filter,
                      "only cases whose name matches: patterns with * separated by colons; those "
                      "that begin with - must not match");
  command->add_option("--plugin", options->plugin)->group("");
  add_common(command, options.get());
  on_chosen(command, action, options, run);
}

}  // namespace berth::ctl
