#include "layer.h"

#include <archive.h>
#include <archive_entry.h>
#include <berth/file_tree.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <set>
#include <string_view>
#include <vector>

namespace @ident@_plugin {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";
constexpr size_t kStep = 1 << 16;

using Names = std::set<std::string, std::less<>>;
using Reader = std::unique_ptr<archive, int (*)(archive*)>;

berth::Status broken(archive* from, const std::string& where) {
  const char* const why = ::archive_error_string(from);
  return berth::invalid_argument("layer: " + where + ": " + (why == nullptr ? "it is malformed" : why));
}

bool is_real_directory(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

/// "/a/b" of "./a/b/"; ".." does not climb out of a root.
std::string in_root(const std::string& name) {
  std::string path = fs::path("/" + name).lexically_normal();
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

/// "a/b" of "/a/b".
std::string without_slash(const std::string& path) { return path.substr(1); }

/// Whether a layer has a say in it: others steer overlayfs and the rest of the system.
bool is_of_layers(std::string_view attribute) { return attribute.starts_with("user.") || attribute == "security.capability"; }

void keep_attributes_of_layers(archive_entry* entry) {
  std::map<std::string, std::string> kept;
  const char* name = nullptr;
  const void* value = nullptr;
  size_t size = 0;
  for (::archive_entry_xattr_reset(entry); ::archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK;) {
    if (is_of_layers(name)) kept[name].assign(static_cast<const char*>(value), size);
  }
  ::archive_entry_xattr_clear(entry);
  for (const auto& [key, bytes] : kept) ::archive_entry_xattr_add_entry(entry, key.c_str(), bytes.data(), bytes.size());
}

class Unpacker {
 public:
  explicit Unpacker(const std::string& bytes)
      : in_(::archive_read_new(), ::archive_read_free), out_(::archive_write_disk_new(), ::archive_write_free) {
    ::archive_read_support_format_tar(in_.get());
    ::archive_read_support_format_empty(in_.get());
    // Names are bytes; what locale the daemon has is nothing to them.
    ::archive_read_set_options(in_.get(), "hdrcharset=BINARY");
    ::archive_write_disk_set_options(out_.get(), ARCHIVE_EXTRACT_OWNER | ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_TIME |
                                                     ARCHIVE_EXTRACT_XATTR | ARCHIVE_EXTRACT_UNLINK);
    opened_ = ::archive_read_open_memory(in_.get(), bytes.data(), bytes.size());
  }

  berth::Status run() {
    if (opened_ != ARCHIVE_OK) return broken(in_.get(), "it cannot be read");
    archive_entry* entry = nullptr;
    int code = ARCHIVE_OK;
    while ((code = ::archive_read_next_header(in_.get(), &entry)) == ARCHIVE_OK) {
      const char* const name = ::archive_entry_pathname(entry);
      if (name == nullptr) return berth::invalid_argument("layer: an entry has no name");
      BERTH_RETURN_IF_ERROR(take(entry, in_root(name)));
    }
    if (code != ARCHIVE_EOF) return broken(in_.get(), "an entry");
    // Times and modes of directories come last.
    if (::archive_write_close(out_.get()) != ARCHIVE_OK) return broken(out_.get(), "its directories");
    return {};
  }

 private:
  berth::Status take(archive_entry* entry, const std::string& path) {
    const std::string parent = fs::path(path).parent_path();
    const std::string base = fs::path(without_slash(path)).filename();
    if (base == kOpaque) return clear(parent);
    if (base.starts_with(kWhiteout)) {
      const std::string gone = base.substr(kWhiteout.size());
      if (gone.empty() || gone == "." || gone == "..") return berth::invalid_argument("layer: whiteout " + path + " names nothing");
      return remove(parent + "/" + gone);
    }
    if (without_slash(path).empty()) return {};  // the root is the snapshotter's
    BERTH_RETURN_IF_ERROR(make_parents(path));
    const bool directory = ::archive_entry_filetype(entry) == AE_IFDIR;
    if (const char* const link = ::archive_entry_hardlink(entry); link != nullptr) {
      const std::string to = in_root(link);
      if (to == path) return {};
      ::archive_entry_set_hardlink(entry, to.c_str());
    }
    // A directory stays with what is in it, everything else is replaced.
    if (!(directory && is_real_directory(path))) BERTH_RETURN_IF_ERROR(remove(path));
    ::archive_entry_set_pathname(entry, path.c_str());
    keep_attributes_of_layers(entry);
    brought_.insert(path);
    for (size_t end = parent.size(); end > 0 && end != std::string::npos; end = parent.rfind('/', end - 1)) {
      brought_.insert(parent.substr(0, end));
    }
    if (::archive_write_header(out_.get(), entry) != ARCHIVE_OK) return broken(out_.get(), path);
    BERTH_RETURN_IF_ERROR(copy_content(path));
    if (::archive_write_finish_entry(out_.get()) != ARCHIVE_OK) return broken(out_.get(), path);
    return {};
  }

  berth::Status copy_content(const std::string& path) {
    const void* bytes = nullptr;
    size_t size = 0;
    la_int64_t offset = 0;
    int code = ARCHIVE_OK;
    while ((code = ::archive_read_data_block(in_.get(), &bytes, &size, &offset)) == ARCHIVE_OK) {
      if (::archive_write_data_block(out_.get(), bytes, size, offset) < 0) return broken(out_.get(), path);
    }
    return code == ARCHIVE_EOF ? berth::Status() : broken(in_.get(), path);
  }

  /// The directories above a path, as far as they are not there. What std has for it stops at a thousand.
  static berth::Status make_parents(const std::string& path) {
    std::error_code error;
    const size_t last = path.rfind('/');
    if (fs::is_directory(path.substr(0, last + 1), error)) return {};
    for (size_t end = path.find('/', 1); end <= last; end = path.find('/', end + 1)) {
      if (::mkdir(path.substr(0, end).c_str(), 0755) != 0 && errno != EEXIST) {
        return berth::invalid_argument("layer: " + path + ": " + std::strerror(errno));
      }
    }
    if (fs::is_directory(path.substr(0, last), error)) return {};
    return berth::invalid_argument("layer: " + path + ": what is above it is no directory");
  }

  /// With all that is below it, however deep; what is absent is success.
  static berth::Status remove(const std::string& path) {
    struct stat status {};
    if (::lstat(path.c_str(), &status) == 0) return berth::remove_tree(path);
    return errno == ENOENT || errno == ENOTDIR ? berth::Status() : berth::errno_status(errno, "remove " + path);
  }

  /// Removes what lower layers have in a directory, and keeps what this one has brought.
  berth::Status clear(const std::string& directory) {
    std::vector<std::string> left = {directory};
    while (!left.empty()) {
      std::vector<std::string> paths;
      std::error_code error;
      const std::string next = std::move(left.back());
      left.pop_back();
      if (!is_real_directory(next)) continue;
      for (const auto& entry : fs::directory_iterator(next, error)) paths.push_back(entry.path());
      if (error) return berth::errno_status(error.value(), "read " + next);
      for (std::string& path : paths) {
        if (!brought_.contains(path)) {
          BERTH_RETURN_IF_ERROR(remove(path));
        } else {
          left.push_back(std::move(path));
        }
      }
    }
    return {};
  }

  Reader in_;
  Reader out_;
  int opened_ = ARCHIVE_FATAL;
  std::set<std::string> brought_;
};

/// Names of attributes that layers carry.
std::vector<std::string> attributes_of(const std::string& path) {
  std::vector<std::string> names;
  std::string list(kStep, '\0');
  const ssize_t size = ::llistxattr(path.c_str(), list.data(), list.size());
  for (ssize_t at = 0; at < size;) {
    const std::string name = list.c_str() + at;
    at += static_cast<ssize_t>(name.size()) + 1;
    if (is_of_layers(name)) names.push_back(name);
  }
  return names;
}

std::string attribute(const std::string& path, const std::string& name) {
  std::string value(kStep, '\0');
  const ssize_t size = ::lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
  value.resize(size < 0 ? 0 : static_cast<size_t>(size));
  return value;
}

/// All that makes a file another one.
std::string look(const std::string& path, const struct stat& status) {
  std::string text = std::to_string(status.st_mode) + " " + std::to_string(status.st_uid) + ":" + std::to_string(status.st_gid);
  if (!S_ISDIR(status.st_mode)) {
    text += " " + std::to_string(status.st_size) + " " + std::to_string(status.st_mtim.tv_sec) + "." +
            std::to_string(status.st_mtim.tv_nsec) + " " + std::to_string(status.st_rdev);
  }
  std::error_code ignored;
  if (S_ISLNK(status.st_mode)) text += " " + fs::read_symlink(path, ignored).string();
  for (const std::string& name : attributes_of(path)) text += " " + name + "=" + attribute(path, name);
  return text;
}

class Packer {
 public:
  explicit Packer(std::string* out) : out_(::archive_write_new(), ::archive_write_free) {
    ::archive_write_set_format_pax(out_.get());
    ::archive_write_set_options(out_.get(), "hdrcharset=BINARY");
    ::archive_write_set_bytes_per_block(out_.get(), 0);
    ::archive_write_open(out_.get(), out, nullptr, append, nullptr);
  }

  berth::Status add(const std::string& path, const struct stat& status) {
    const std::unique_ptr<archive_entry, void (*)(archive_entry*)> entry(::archive_entry_new(), ::archive_entry_free);
    ::archive_entry_copy_stat(entry.get(), &status);
    ::archive_entry_unset_atime(entry.get());
    ::archive_entry_unset_ctime(entry.get());
    ::archive_entry_set_pathname(entry.get(), without_slash(path).c_str());
    std::error_code error;
    if (S_ISLNK(status.st_mode)) ::archive_entry_set_symlink(entry.get(), fs::read_symlink(path, error).c_str());
    for (const std::string& name : attributes_of(path)) {
      const std::string value = attribute(path, name);
      ::archive_entry_xattr_add_entry(entry.get(), name.c_str(), value.data(), value.size());
    }
    if (!S_ISDIR(status.st_mode) && status.st_nlink > 1) {
      const auto [first, is_first] = names_.emplace(status.st_ino, without_slash(path));
      if (!is_first) {
        ::archive_entry_set_hardlink(entry.get(), first->second.c_str());
        ::archive_entry_set_size(entry.get(), 0);
      }
    }
    return write(entry.get(), path);
  }

  berth::Status whiteout(const std::string& path) {
    const std::unique_ptr<archive_entry, void (*)(archive_entry*)> entry(::archive_entry_new(), ::archive_entry_free);
    const fs::path gone(path);
    ::archive_entry_set_pathname(entry.get(), (gone.parent_path() / (std::string(kWhiteout) + gone.filename().string())).c_str());
    ::archive_entry_set_filetype(entry.get(), AE_IFREG);
    ::archive_entry_set_size(entry.get(), 0);
    return write(entry.get(), "");
  }

  berth::Status finish() {
    if (::archive_write_close(out_.get()) != ARCHIVE_OK) return failed("its end");
    return {};
  }

 private:
  static la_ssize_t append(archive*, void* out, const void* bytes, size_t size) {
    static_cast<std::string*>(out)->append(static_cast<const char*>(bytes), size);
    return static_cast<la_ssize_t>(size);
  }

  berth::Status failed(const std::string& what) {
    const char* const why = ::archive_error_string(out_.get());
    return berth::internal_error("write a layer: " + what + ": " + (why == nullptr ? "?" : why));
  }

  berth::Status write(archive_entry* entry, const std::string& path) {
    if (::archive_write_header(out_.get(), entry) != ARCHIVE_OK) return failed(path);
    if (path.empty() || ::archive_entry_size(entry) == 0 || ::archive_entry_filetype(entry) != AE_IFREG) return {};
    std::ifstream file(path, std::ios::binary);
    std::string buffer(kStep, '\0');
    for (la_int64_t left = ::archive_entry_size(entry); left > 0;) {
      file.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
      const auto size = static_cast<size_t>(file.gcount());
      if (size == 0) return berth::aborted("write a layer: " + path + " became shorter meanwhile");
      if (::archive_write_data(out_.get(), buffer.data(), size) < 0) return failed(path);
      left -= static_cast<la_int64_t>(size);
    }
    return {};
  }

  Reader out_;
  std::map<ino_t, std::string> names_;  // of files that have several
};

template <typename Visit>
berth::Status walk(const Visit& visit) {
  std::vector<std::string> paths;
  std::vector<std::string> left = {"/"};  // one directory is open at a time, however deep the tree is
  while (!left.empty()) {
    std::error_code error;
    const std::string directory = std::move(left.back());
    left.pop_back();
    for (fs::directory_iterator at(directory, error), end; !error && at != end; at.increment(error)) {
      paths.push_back(at->path());
      if (is_real_directory(paths.back())) left.push_back(paths.back());
    }
    if (error) return berth::errno_status(error.value(), "walk a tree");
  }
  std::sort(paths.begin(), paths.end());
  for (const std::string& path : paths) {
    struct stat status {};
    if (::lstat(path.c_str(), &status) != 0) return berth::errno_status(errno, "look at " + path);
    BERTH_RETURN_IF_ERROR(visit(path, status));
  }
  return {};
}

/// Whether a parent of the path is in the set.
bool is_below(const Names& gone, std::string_view path) {
  while (true) {
    const size_t slash = path.rfind('/');
    if (slash == std::string_view::npos) return false;
    path = path.substr(0, slash);
    if (gone.contains(path)) return true;
  }
}

}  // namespace

berth::Status unpack_here(const std::string& archive) { return Unpacker(archive).run(); }

berth::Status look_at_tree(Tree* out) {
  return walk([&](const std::string& path, const struct stat& status) -> berth::Status {
    (*out)[without_slash(path)] = look(path, status);
    return {};
  });
}

berth::Status pack_changes(const Tree& lower, std::string* archive) {
  Packer packer(archive);
  Names there;
  Names files;  // that may have been directories
  BERTH_RETURN_IF_ERROR(walk([&](const std::string& path, const struct stat& status) -> berth::Status {
    const std::string name = without_slash(path);
    there.insert(name);
    if (!S_ISDIR(status.st_mode)) files.insert(name);
    const auto before = lower.find(name);
    if (before != lower.end() && before->second == look(path, status)) return {};
    return packer.add(path, status);
  }));
  Names gone;
  for (const auto& [name, before] : lower) {
    // What is below something that goes, or is a file now, goes with it.
    if (there.contains(name) || is_below(gone, name) || is_below(files, name)) continue;
    gone.insert(name);
    BERTH_RETURN_IF_ERROR(packer.whiteout(name));
  }
  return packer.finish();
}

}  // namespace @ident@_plugin
