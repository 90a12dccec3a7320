// How a subcommand enters the command table: it adds itself and its options to the parser, and on
// being chosen leaves what is to be done. One function per source; main.cc lists them.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>

namespace berth::ctl {

/// What was asked for; returns the exit code.
using Action = std::function<int()>;

/// Exit codes: 0 done, 1 the answer is "no" (a plugin that would not load, a case that failed) or
/// it could not be had, 2 wrong use.
inline constexpr int kNo = 1;
inline constexpr int kWrongUse = 2;

/// What --timeout may be, in seconds. A range without an end would be printed as one.
inline constexpr int64_t kShortestTimeout = 1;
inline constexpr int64_t kLongestTimeout = 86400;

/// Makes `command` leave `run(options)` as the action. `options` lives as long as the action.
template <typename Options>
void on_chosen(CLI::App* command, Action* action, std::shared_ptr<Options> options,
               int (*run)(const Options&)) {
  command->callback([action, options, run] { *action = [options, run] { return run(*options); }; });
}

void add_inspect(CLI::App& plugin, Action* action);
/// completion and man; `own_table` gives the whole table, these included.
void add_docs(CLI::App& app, Action* action, void (*own_table)(CLI::App&));
void add_call(CLI::App& app, Action* action);
void add_graph(CLI::App& plugin, Action* action);
void add_new(CLI::App& plugin, Action* action);
void add_shim_validate(CLI::App& shim, Action* action);
void add_validate(CLI::App& plugin, Action* action);
void add_why(CLI::App& plugin, Action* action);

}  // namespace berth::ctl
