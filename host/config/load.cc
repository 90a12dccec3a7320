// Reading files and their imports, and merging them.
#include <glob.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "config/document.h"

namespace berth::config {
namespace {

namespace fs = std::filesystem;
constexpr int kMaxImportDepth = 16;

Result<toml::table> parse_file(const std::string& file) {
  std::ifstream in(file);
  if (!in) return errno_status(errno, "read configuration " + file);
  std::ostringstream text;
  text << in.rdbuf();
  try {
    return toml::parse(text.str(), file);
  } catch (const toml::parse_error& error) {
    return invalid_argument(
        "configuration " + file + ":" + std::to_string(error.source().begin.line) + ":" +
        std::to_string(error.source().begin.column) + ": " + std::string(error.description()));
  }
}

bool appends(std::string_view key) {
  return key == "disabled_plugins" || key == "required_plugins" || key == "imports";
}

/// Tables merge deeply, some lists append, all else is replaced. Nodes are moved, since a copy
/// forgets its origin.
void merge(toml::table& into, toml::table&& from, bool top) {
  for (auto&& [key, node] : from) {
    toml::node* present = into.get(key.str());
    if (present != nullptr && present->is_table() && node.is_table()) {
      merge(*present->as_table(), std::move(*node.as_table()), false);
    } else if (present != nullptr && top && appends(key.str()) && present->is_array() &&
               node.is_array()) {
      for (toml::node& element : *node.as_array()) {
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
