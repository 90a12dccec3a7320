#include "command_docs.h"

#include <algorithm>
#include <functional>
#include <vector>

#include "builtin/version.h"
#include "command.h"
#include "command_line.h"
#include "plugin_run_command.h"

namespace berth::ctl {
namespace {

std::vector<const CLI::App*> commands_of(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App* one) { return !one->get_group().empty(); });
}

std::vector<const CLI::Option*> options_of(const CLI::App& app, bool positional) {
  return app.get_options([=](const CLI::Option* one) {
    return !one->get_group().empty() && (positional ? one->get_positional() : one->nonpositional());
  });
}

bool takes_value(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

/// "--config", "-c".
std::vector<std::string> spellings(const CLI::Option& option) {
  std::vector<std::string> all;
  for (const std::string& name : option.get_lnames()) all.push_back("--" + name);
  for (const std::string& name : option.get_snames()) all.push_back("-" + name);
  return all;
}

/// The values of an option that takes one of a set: "TEXT:{a,b}" has them.
std::string choices(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const size_t open = type.find('{');
  const size_t close = type.find('}', open);
  if (open == std::string::npos || close == std::string::npos) return {};
  std::string list = type.substr(open + 1, close - open - 1);
  std::replace(list.begin(), list.end(), ',', ' ');
  return list;
}

/// Visits the commands below `app` with the words that lead to each: "berthctl plugin new".
void visit(const CLI::App& app, const std::string& path,
           const std::function<void(const CLI::App&, const std::string&)>& each) {
  each(app, path);
  for (const CLI::App* command : commands_of(app)) {
    visit(*command, path + " " + command->get_name(), each);
  }
}

// -- man -----------------------------------------------------------------------------------------

std::string troff(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
  }
  // A line that begins so would be a command.
  return out.empty() || (out[0] != '.' && out[0] != '\'') ? out : "\\&" + out;
}

std::string synopsis(const CLI::App& app, const std::string& path) {
  std::string out = ".B " + troff(path) + "\n";
  if (!options_of(app, false).empty()) out += "[\\fIoptions\\fR]\n";
  for (const CLI::Option* option : options_of(app, true)) {
    const std::string name = "\\fI" + troff(option->get_single_name()) + "\\fR";
    out += (option->get_required() ? name : "[" + name + "]") + "\n";
  }
  if (!commands_of(app).empty()) out += "\\fIcommand\\fR ...\n";
  return out;
}

std::string option_list(const CLI::App& app) {
  std::string out;
  for (const CLI::Option* option : options_of(app, true)) {
    out += ".TP\n.I " + troff(option->get_single_name()) + "\n" + troff(option->get_description()) +
           "\n";
  }
  for (const CLI::Option* option : options_of(app, false)) {
    std::string names;
    for (const std::string& name : spellings(*option)) {
      names += (names.empty() ? "" : ", ") + ("\\fB" + troff(name) + "\\fR");
    }
    const std::string set = choices(*option);
    if (takes_value(*option)) names += " \\fI" + (set.empty() ? "value" : troff(set)) + "\\fR";
    out += ".TP\n" + names + "\n" + troff(option->get_description()) + "\n";
  }
  return out;
}

// -- completions ---------------------------------------------------------------------------------

/// The cases of the shells' `case` statements, which bash and zsh write alike.
struct Cases {
  std::string commands;  // "berthctl plugin"|"berthctl plugin new"; "" of a program without any
  std::string values;    // what may follow an option
  std::string words;     // what may follow a command
};

Cases cases_of(const CLI::App& table, const std::string& program, const char* choose,
               const char* files) {
  Cases out;
  visit(table, program, [&](const CLI::App& app, const std::string& path) {
    if (path != program) out.commands += (out.commands.empty() ? "" : "|") + ("\"" + path + "\"");
    std::string words;
    for (const CLI::App* command : commands_of(app)) words += command->get_name() + " ";
    for (const CLI::Option* option : options_of(app, false)) {
      for (const std::string& name : spellings(*option)) {
        words += name + " ";
        if (!takes_value(*option)) continue;
        const std::string set = choices(*option);
        out.values += "    \"" + path + " " + name + "\") " +
                      (set.empty() ? std::string(files) : choose + (" \"" + set + "\"")) +
                      "; return ;;\n";
      }
    }
    if (!words.empty()) words.pop_back();
    out.words += "    \"" + path + "\") words=\"" + words + "\" ;;\n";
  });
  if (out.commands.empty()) out.commands = "\"\"";
  return out;
}

struct Options {
  std::string shell;
  std::string program = "berthctl";
  void (*own_table)(CLI::App&) = nullptr;
};

/// The programs beside berthctl that have a command table.
struct Program {
  const char* name;
  int section;
  void (*table)(CLI::App&);
};

void daemon_table(CLI::App& app) {
  static CommandLine unused;
  add_command_line(app, &unused);
}

void plugin_run_table(CLI::App& app) {
  static plugin_run::CommandLine unused;
  plugin_run::add_command_line(app, &unused);
}

constexpr Program kOthers[] = {{"berthd", 8, daemon_table},
                               {"berth-plugin-run", 8, plugin_run_table}};

Program program_of(const Options& options) {
  for (const Program& one : kOthers) {
    if (options.program == one.name) return one;
  }
  return {"berthctl", 1, options.own_table};
}

std::unique_ptr<CLI::App> table_of(const Options& options) {
  auto app = std::make_unique<CLI::App>();
  program_of(options).table(*app);
  return app;
}

int print_completion(const Options& options) {
  const auto table = table_of(options);
  const std::string text = options.shell == "bash" ? bash_completion(*table, options.program)
                                                   : zsh_completion(*table, options.program);
  std::fputs(text.c_str(), stdout);
  return 0;
}

int print_man(const Options& options) {
  const auto table = table_of(options);
  std::fputs(man_page(*table, options.program, program_of(options).section).c_str(), stdout);
  return 0;
}

}  // namespace

std::string man_page(const CLI::App& table, const std::string& program, int section) {
  std::string capitals = program;
  for (char& c : capitals) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  std::string what = table.get_description();
  if (what.starts_with(program + ": ")) what = what.substr(program.size() + 2);
  std::string out = ".\\\" Made from the command table; do not edit.\n.TH " + capitals + " " +
                    std::to_string(section) + " \"\" \"berth " + std::string(builtin::version()) +
                    "\"\n.SH NAME\n" + program + " \\- " + troff(what) + "\n.SH SYNOPSIS\n" +
                    synopsis(table, program) + ".SH OPTIONS\n" + option_list(table);
  bool first = true;
  visit(table, program, [&](const CLI::App& app, const std::string& path) {
    if (path == program || app.get_name().empty()) return;
    if (first) out += ".SH COMMANDS\n";
    first = false;
    out += ".SS " + troff(path) + "\n" + troff(app.get_description()) + "\n";
    if (!commands_of(app).empty()) return;  // its commands follow
    out += ".PP\n" + synopsis(app, path) + option_list(app);
  });
  out += ".SH EXIT STATUS\n0: done. 1: the answer is no, or it could not be had.";
  return out + (program == "berthctl" ? " 2: wrong use.\n" : "\n");
}

std::string bash_completion(const CLI::App& table, const std::string& program) {
  const Cases cases = cases_of(table, program, "_choose", "_files");
  std::string out = "# Completion of " + program + " for bash. Made from the command table.\n";
  out += "_" + program + "() {\n";
  out += R"(  local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}" words="" word
  local path=")" +
         program + R"("
  _choose() { COMPREPLY=($(compgen -W "$1" -- "$cur")); }
  _files() { COMPREPLY=($(compgen -f -- "$cur")); }
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$path $word" in
    )" + cases.commands +
         R"() path="$path $word" ;;
    esac
  done
  case "$path $prev" in
)" + cases.values +
         R"(  esac
  case "$path" in
)" + cases.words +
         R"(  esac
  _choose "$words"
  [ ${#COMPREPLY[@]} -ne 0 ] || _files
}
complete -o filenames -F _)" +
         program + " " + program + "\n";
  return out;
}

std::string zsh_completion(const CLI::App& table, const std::string& program) {
  const Cases cases = cases_of(table, program, "_choose", "_files");
  std::string out = "#compdef " + program + "\n# Completion of " + program +
                    " for zsh. Made from the command table.\n";
  out +=
      "_" + program + "() {\n  local cur=\"${words[CURRENT]}\" prev=\"${words[CURRENT-1]}\" word\n";
  out += "  local path_=\"" + program + "\"\n";
  out += R"(  local -a typed
  typed=("${words[@]:1:CURRENT-2}")
  _choose() { compadd -- ${=1}; }
  for word in "${typed[@]}"; do
    case "$path_ $word" in
    )" + cases.commands +
         R"() path_="$path_ $word" ;;
    esac
  done
  local words=""
  case "$path_ $prev" in
)" + cases.values +
         R"(  esac
  case "$path_" in
)" + cases.words +
         R"(  esac
  _choose "$words"
  _files
}
_)" + program +
         " \"$@\"\n";
  return out;
}

void add_docs(CLI::App& app, Action* action, void (*own_table)(CLI::App&)) {
  auto options = std::make_shared<Options>();
  options->own_table = own_table;
  const auto program = [&](CLI::App* command) {
    std::vector<std::string> names = {"berthctl"};
    for (const Program& one : kOthers) names.emplace_back(one.name);
    command->add_option("program", options->program, "whose (default: berthctl)")
        ->check(CLI::IsMember(names));
  };
  CLI::App* completion = app.add_subcommand("completion", "print a completion script for a shell");
  completion->add_option("shell", options->shell, "bash or zsh")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh"}));
  program(completion);
  on_chosen(completion, action, options, print_completion);
  CLI::App* man = app.add_subcommand("man", "print a manual page for man(1)");
  program(man);
  on_chosen(man, action, options, print_man);
}

}  // namespace berth::ctl
