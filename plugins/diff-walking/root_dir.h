// A directory tree that nothing can lead out of: all resolution goes through
// openat2(RESOLVE_IN_ROOT).
//
// CVE-2021-32760 and CVE-2025-47290 came from extraction by path strings: between the check of a
// path and its use somebody puts a link there. Here a path is resolved by the kernel in one step,
// below the root, and from then on only the descriptor counts.
#pragma once

#include <berth/fd.h>
#include <berth/file_tree.h>
#include <berth/status.h>
#include <sys/stat.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace berth::diff_walking {

/// The name of an entry, cleaned lexically: no empty, "." or ".." components, no slash at either
/// end.
struct EntryPath {
  std::string parent;  // empty: the root
  std::string base;    // empty: the entry is the root itself
  std::string whole() const { return parent.empty() ? base : parent + "/" + base; }
};

/// Absolute names count from the root. INVALID_ARGUMENT for a name that climbs out of it.
Result<EntryPath> parse_entry_path(std::string_view name);

/// Immutable once open; any thread.
class RootDir {
 public:
  /// The directory that `path` names, symbolic links included: it comes from a snapshotter, not
  /// from a layer.
  static Result<RootDir> open(const std::string& path);
  /// The directory that a descriptor, also an O_PATH one, refers to; `name` stands for it in
  /// messages.
  static Result<RootDir> adopt(UniqueFd dir, std::string name);

  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }

  /// openat2 below the root; links inside it are followed, in their own idea of "/". The errno of
  /// openat2 as negative number on failure, otherwise a descriptor that the caller owns.
  int resolve(const std::string& path, uint64_t flags) const;

  /// An O_PATH descriptor of an existing directory.
  Result<UniqueFd> open_dir(const std::string& path) const;

  /// Called for a directory that was made because an entry needs it: its parent, its name and its
  /// path.
  using Created =
      std::function<Status(int parent, const std::string& name, const std::string& path)>;
  /// The same, and makes what is missing with mode 0755. INVALID_ARGUMENT when something in the
  /// path is no directory.
  Result<UniqueFd> make_dirs(const std::string& path, const Created& created) const;

 private:
  Result<UniqueFd> make_dirs(const std::string& path, const Created& created, int links) const;
  Status make_dir(int parent, const std::string& above, const std::string& name,
                  const Created& created, int links) const;
  Status unusable(int error, const std::string& path) const;

  UniqueFd fd_;
  std::string path_;
};

/// Removes what a walk is at; a directory has to be empty.
Status unlink_entry(const TreeEntry& entry);
/// What is said of a mount in the way of a removal.
Status mounted_here();

/// For messages: the begin and the end of a path that is very long.
std::string shortened(const std::string& path);

/// Removes a file or a whole tree without following links and without entering other mounts. What
/// is not there is fine. `removed` is called for each directory that goes.
Status remove_tree(int parent, const std::string& name,
                   const std::function<void(const struct stat&)>& removed = {});

/// Calls `visit` with the name of each entry of a directory, in no order; "." and ".." are left
/// out. `dir` stays open.
Status for_each_name(int dir, const std::function<Status(const std::string& name)>& visit);

/// The names of a directory, sorted by byte.
Result<std::vector<std::string>> sorted_names(int dir);

/// A path that leads to exactly what an O_PATH descriptor refers to, for the system calls that take
/// no such descriptor. It is a link of the kernel's own: nothing that a layer has put on disk is
/// followed.
std::string path_of_fd(int fd);

}  // namespace berth::diff_walking
