// Reading files and their imports, and merging them.
#include <berth/fd.h>
#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>

#include "config/document.h"
#include "manifest/toml_text.h"

namespace berth::config {
namespace {

namespace fs = std::filesystem;
constexpr int kMaxImportDepth = 16;
constexpr size_t kMaxConfigBytes = 4 << 20;

/// Regular files alone: a FIFO or a device among the imports must not hold up the daemon.
Result<std::string> read_file(const std::string& file) {
  const std::string attempt = "read configuration " + file;
  const UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return errno_status(errno, attempt);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return errno_status(errno, attempt);
  if (!S_ISREG(info.st_mode)) return invalid_argument(attempt + ": it is not a regular file");
  std::string text;
  char buffer[16384];
  while (text.size() <= kMaxConfigBytes) {
    const ssize_t size = ::read(fd.get(), buffer, sizeof buffer);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return errno_status(errno, attempt);
    if (size == 0) break;
    text.append(buffer, static_cast<size_t>(size));
  }
  return text;  // when it is longer than the limit, the parser says so
}

Result<toml::table> parse_file(const std::string& file) {
  BERTH_ASSIGN_OR_RETURN(const std::string text, read_file(file));
  auto table = manifest::parse_toml(text, file, kMaxConfigBytes);
  if (!table.ok()) return table.status().with_context("configuration");
  move_server_sections(*table);
  return table;
}

bool contains(const toml::array& array, const toml::node& element) {
  const auto* text = element.as_string();
  return text != nullptr && std::any_of(array.begin(), array.end(), [&](const toml::node& one) {
           return one.is_string() && one.as_string()->get() == text->get();
         });
}

bool appends(std::string_view key) {
  return key == "disabled_plugins" || key == "required_plugins" || key == "imports";
}

/// Tables merge deeply, some lists append, all else is replaced. Nodes are moved, since a copy
/// forgets its origin.
void merge(toml::table& into, toml::table&& from, bool top) {
  for (auto&& entry : from) {
    const toml::key& key = entry.first;  // clang 14 captures no structured binding
    toml::node& node = entry.second;
    toml::node* present = into.get(key.str());
    if (present != nullptr && present->is_table() && node.is_table()) {
      merge(*present->as_table(), std::move(*node.as_table()), false);
    } else if (present != nullptr && top && appends(key.str()) && present->is_array() &&
               node.is_array()) {
      for (toml::node& element : *node.as_array()) {
        if (contains(*present->as_array(), element)) continue;
        element.visit([&](auto& value) { present->as_array()->push_back(std::move(value)); });
      }
    } else {
      node.visit([&](auto& value) { into.insert_or_assign(key, std::move(value)); });
    }
  }
}

std::vector<std::string> expand(const std::string& pattern) {
  std::vector<std::string> files;
  glob_t found{};
  if (::glob(pattern.c_str(), 0, nullptr, &found) == 0) {
    files.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  }
  ::globfree(&found);
  return files;  // glob sorts
}

class Loader {
 public:
  explicit Loader(std::vector<Diagnostic>* diagnostics) : diagnostics_(diagnostics) {}

  Status load(const std::string& file, int depth, toml::table* out) {
    std::error_code error;
    const std::string identity = fs::weakly_canonical(file, error).string();
    if (!seen_.insert(identity).second) return {};  // imported before, or a circle
    if (depth > kMaxImportDepth) {
      return invalid_argument("configuration " + file + ": imports are nested more than " +
                              std::to_string(kMaxImportDepth) + " deep");
    }
    BERTH_ASSIGN_OR_RETURN(toml::table table, parse_file(file));
    check_version(file, table);
    std::vector<std::string> imports = imports_of(file, table);
    if (depth > 0) table.erase("version");  // says how this file is written, not the whole
    merge(*out, std::move(table), true);
    for (const std::string& import : imports) BERTH_RETURN_IF_ERROR(load(import, depth + 1, out));
    return {};
  }

 private:
  void check_version(const std::string& file, const toml::table& table) {
    const auto* version = table.get_as<int64_t>("version");
    if (version == nullptr) {
      diagnostics_->push_back(
          {file, 1, "\"version\" is missing: write version = 3 (2, 3 and 4 are read)"});
    } else if (version->get() < 2 || version->get() > 4) {
      diagnostics_->push_back(diagnostic_at(
          *version,
          "version = " + std::to_string(version->get()) +
              " is not read: use 2, 3 or 4, in which sections are [plugins.\"TYPE.ID\"]"));
    }
  }

  std::vector<std::string> imports_of(const std::string& file, const toml::table& table) {
    std::vector<std::string> files;
    const toml::array* patterns = table.get_as<toml::array>("imports");
    if (patterns == nullptr) return files;
    for (const toml::node& node : *patterns) {
      const auto* pattern = node.as_string();
      if (pattern == nullptr) {
        diagnostics_->push_back(diagnostic_at(node, "\"imports\" must be a list of strings"));
        continue;
      }
      fs::path path(pattern->get());
      if (path.is_relative()) path = fs::path(file).parent_path() / path;
      const auto found = expand(path.string());
      if (found.empty() && pattern->get().find_first_of("*?[") == std::string::npos) {
        diagnostics_->push_back(
            diagnostic_at(node, "import \"" + pattern->get() + "\": there is no such file"));
      }
      files.insert(files.end(), found.begin(), found.end());
    }
    return files;
  }

  std::vector<Diagnostic>* diagnostics_;
  std::set<std::string> seen_;
};

}  // namespace

Result<toml::table> load_merged(const std::string& file, std::vector<Diagnostic>* diagnostics) {
  toml::table merged;
  BERTH_RETURN_IF_ERROR(Loader(diagnostics).load(file, 0, &merged));
  return merged;
}

}  // namespace berth::config
