// Man pages and completions, made from a command table, so that they cannot say anything else.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace berth::ctl {

/// In troff's man macros. `section` 1 or 8.
std::string man_page(const CLI::App& table, const std::string& program, int section);
std::string bash_completion(const CLI::App& table, const std::string& program);
std::string zsh_completion(const CLI::App& table, const std::string& program);

}  // namespace berth::ctl
