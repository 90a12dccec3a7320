#include "new_plugin.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include "command.h"

namespace berth::ctl {
namespace {

namespace fs = std::filesystem;

constexpr size_t kLongestName = 48;
/// In a template: which files of common-LANG it takes with it, one a line.
constexpr const char* kCommonList = "common.txt";
constexpr std::string_view kCommonPrefix = "common-";

/// Words that C, C++, Rust and protobuf keep for themselves, as far as a name could be one.
constexpr std::string_view kKeptByLanguages =
    " abstract alignas alignof and and_eq asm async auto await become bitand bitor bool box break"
    " case catch char class co_await co_return co_yield compl concept"
    " const const_cast consteval constexpr constinit continue crate decltype default delete do"
    " double dyn dynamic_cast else enum explicit export extern false final float fn for friend gen"
    " goto if impl import in inline int let long loop macro main match message mod move mut"
    " mutable namespace new noexcept not not_eq nullptr operator option or or_eq override package"
    " priv private protected pub public raw ref register reinterpret_cast requires restrict return"
    " self service short signed sizeof static static_assert static_cast struct super switch syntax"
    " template test this thread thread_local throw trait true try type typedef typeid typename"
    " typeof union unsafe unsigned unsized use using virtual void volatile where while xor"
    " xor_eq yield ";

/// Crates that Rust has, macros and types of C's headers, targets that CMake makes, and ours.
constexpr std::string_view kKeptByOthers =
    " alloc core proc_macro std"
    " errno linux unix va"
    " all clean depend edit_cache help install list_install_components package_source"
    " preinstall rebuild_cache"
    " berth containerd google ";

std::string ident_of(std::string name) {
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

Status check_name(const std::string& name) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  };
  const std::string attempt = "make plugin \"" + name + "\": ";
  if (name.size() < 2 || name.size() > kLongestName || name[0] < 'a' || name[0] > 'z' ||
      !std::all_of(name.begin(), name.end(), fits) ||
      ident_of(name).find("__") != std::string::npos || ident_of(name).back() == '_') {
    return invalid_argument(attempt + "a name has 2 to " + std::to_string(kLongestName) +
                            " small letters, digits and single - or _ between them, and begins "
                            "with a letter");
  }
  const std::string word = " " + ident_of(name) + " ";
  // What ends in _t is a type of C's, such as size_t.
  if (kKeptByLanguages.find(word) != std::string::npos ||
      kKeptByOthers.find(word) != std::string::npos || word.ends_with("_t ")) {
    return invalid_argument(attempt +
                            "that is a word of a programming language, of its tools or of Berth: "
                            "choose another");
  }
  return {};
}

std::map<std::string, std::string> placeholders(const std::string& name) {
  const std::string ident = ident_of(name);
  std::string camel;
  bool upper = true;
  for (const char c : ident) {
    if (c == '_') {
      upper = true;
      continue;
    }
    camel += upper ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
    upper = false;
  }
  std::string capitals = ident;
  for (char& c : capitals) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return {{"@name@", name}, {"@ident@", ident}, {"@Class@", camel}, {"@IDENT@", capitals}};
}

std::string filled_in(std::string text, const std::map<std::string, std::string>& words) {
  for (const auto& [word, value] : words) {
    for (size_t at = 0; (at = text.find(word, at)) != std::string::npos; at += value.size()) {
      text.replace(at, word.size(), value);
    }
  }
  return text;
}

Status write_file(const fs::path& from, const fs::path& to,
                  const std::map<std::string, std::string>& words) {
  std::error_code error;
  fs::create_directories(to.parent_path(), error);
  if (error) return errno_status(error.value(), "make directory " + to.parent_path().string());
  std::ifstream in(from, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  if (!in) return errno_status(errno, "read template " + from.string());
  std::ofstream out(to, std::ios::binary);
  out << filled_in(text, words) << std::flush;
  if (!out) return errno_status(errno, "write " + to.string());
  return {};
}

/// What is copied, by the name that it gets. A plugin called "disk" would have two files disk.c.
Result<std::map<std::string, fs::path>> files_of(const fs::path& templates, const NewPlugin& wanted,
                                                 const std::map<std::string, std::string>& words) {
  const fs::path from = templates / (wanted.type + "-" + wanted.lang);
  const fs::path common = templates / (std::string(kCommonPrefix) + wanted.lang);
  std::vector<std::pair<std::string, fs::path>> all;
  for (const auto& entry : fs::recursive_directory_iterator(from)) {
    if (!entry.is_regular_file() || entry.path().filename() == kCommonList) continue;
    all.emplace_back(filled_in(fs::relative(entry.path(), from).string(), words), entry.path());
  }
  std::ifstream list(from / kCommonList);
  for (std::string name; std::getline(list, name);) all.emplace_back(name, common / name);
  std::map<std::string, fs::path> files;
  for (const auto& [name, file] : all) {
    if (!files.emplace(name, file).second) {
      return invalid_argument("make plugin \"" + wanted.name + "\": the template has a " + name +
                              " of its own: choose another name");
    }
  }
  return files;
}

/// Code without comments and texts. What starts a comment in CMake starts a directive of C.
std::string bare(const std::string& text, bool cmake) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const auto skip_to = [&](std::string_view end) {
      const size_t found = text.find(end, at + 1);
      at = found == std::string::npos ? text.size() : found + end.size();
      out += ' ';
    };
    if (text.compare(at, 2, "/*") == 0) {
      skip_to("*/");
    } else if (text.compare(at, 2, "//") == 0 || (cmake && text[at] == '#')) {
      skip_to("\n");
    } else if (text[at] == '"' && !cmake) {
      for (++at; at < text.size() && text[at] != '"'; ++at) at += text[at] == '\\' ? 1 : 0;
      ++at;
      out += ' ';
    } else {
      out += text[at++];
    }
  }
  return out;
}

/// Words with or without placeholders in them.
std::set<std::string> words_of(const std::string& code) {
  std::set<std::string> words;
  std::string word;
  for (const char c : code + ' ') {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '@') {
      word += c;
    } else if (!word.empty()) {
      words.insert(std::exchange(word, ""));
    }
  }
  return words;
}

/// Whether the template has a word of its own that a placeholder would become as well, such as the
/// type Info where the plugin's is to be named so, or a function that is made twice.
Status check_words(const std::string& name, const std::map<std::string, fs::path>& files,
                   const std::map<std::string, std::string>& placeholders_of_name) {
  std::set<std::string> own, made;
  for (const auto& [target, file] : files) {
    const std::string extension = file.extension();
    const bool cmake = file.filename() == "CMakeLists.txt";
    if (extension != ".c" && extension != ".h" && extension != ".cc" && extension != ".rs" &&
        extension != ".proto" && !cmake) {
      continue;
    }
    std::ifstream in(file, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    for (const std::string& word : words_of(bare(text, cmake))) {
      // A namespace, which is in that of an organisation, and a target of CMake's are apart.
      if (word == "@ident@" || word == "@name@") continue;
      (word.find('@') == std::string::npos ? own : made).insert(word);
    }
  }
  for (const std::string& word : made) {
    if (const std::string filled = filled_in(word, placeholders_of_name); own.contains(filled)) {
      return invalid_argument("make plugin \"" + name + "\": the template has a " + filled +
                              " of its own: choose another name");
    }
  }
  return {};
}

struct Options {
  NewPlugin wanted;
};

int run(const Options& options) {
  const auto made = make_plugin(options.wanted, templates_folder());
  if (!made.ok()) {
    std::fprintf(stderr, "berthctl: %s\n", made.status().message().c_str());
    return made.status().code() == Code::kInvalidArgument ? kWrongUse : kNo;
  }
  std::printf("%s: see its README.md for how to build, test and run it\n", made->c_str());
  return 0;
}

}  // namespace

std::string templates_folder() {
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  const fs::path beside = self.parent_path().parent_path() / "share/berth/templates";
  return fs::is_directory(beside, error) ? beside.string() : BERTH_TEMPLATES;
}

std::vector<std::string> offered(const std::string& templates) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(templates, error)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_directory() && !name.starts_with(kCommonPrefix)) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<std::string> make_plugin(const NewPlugin& wanted, const std::string& templates) {
  BERTH_RETURN_IF_ERROR(check_name(wanted.name));
  const std::string pair = wanted.type + "-" + wanted.lang;
  const std::vector<std::string> all = offered(templates);
  if (std::find(all.begin(), all.end(), pair) == all.end()) {
    std::string list;
    for (const std::string& one : all) list += (list.empty() ? "" : ", ") + one;
    return unimplemented("make a " + wanted.type + " in " + wanted.lang +
                         ": there is no template in " + templates +
                         (list.empty() ? "" : "; there are " + list));
  }
  const fs::path to = wanted.directory.empty() ? wanted.name : wanted.directory;
  std::error_code error;
  if (fs::exists(to, error) && !(fs::is_directory(to, error) && fs::is_empty(to, error))) {
    return already_exists("make plugin " + wanted.name + ": " + to.string() +
                          " is there and not an empty folder: give another --directory");
  }
  const auto words = placeholders(wanted.name);
  BERTH_ASSIGN_OR_RETURN(const auto files, files_of(templates, wanted, words));
  BERTH_RETURN_IF_ERROR(check_words(wanted.name, files, words));
  for (const auto& [name, file] : files) BERTH_RETURN_IF_ERROR(write_file(file, to / name, words));
  return to.string();
}

void add_new(CLI::App& plugin, Action* action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = plugin.add_subcommand(
      "new", "make a folder with a plugin that builds, passes its tests and runs");
  command->add_option("name", options->wanted.name, "id of the plugin")->required();
  command->add_option("--type", options->wanted.type, "what it shall be; a runtime is a shim")
      ->required()
      ->check(CLI::IsMember({"snapshotter", "content", "differ", "runtime", "service"}));
  command->add_option("--lang", options->wanted.lang, "the language")
      ->required()
      ->check(CLI::IsMember({"cpp", "c", "rust"}));
  command->add_option("--directory", options->wanted.directory,
                      "the folder to make (default: the name)");
  on_chosen(command, action, options, run);
}

}  // namespace berth::ctl
