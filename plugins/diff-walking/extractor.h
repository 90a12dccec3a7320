// Applies a layer, as a tar archive, onto a directory.
//
// The rules are those of the OCI image specification, "layer.md", with containerd's answers where
// it is silent: what the archive has replaces what is there, directories are merged, ".wh.NAME"
// removes NAME and ".wh..wh..opq" everything that lower layers have put into a directory. Whiteouts
// never touch what the same layer has brought.
#pragma once

#include <berth/status.h>

#include <map>
#include <string>
#include <unordered_set>
#include <vector>

#include "root_dir.h"
#include "tar_reader.h"

namespace berth::diff_walking {

enum class Whiteouts {
  /// Onto a whole file system: what is hidden gets removed.
  kRemove,
  /// Into the upper directory of an overlay: device 0:0 and the attribute "opaque" hide it.
  kOverlay,
};

struct ExtractOptions {
  Whiteouts whiteouts = Whiteouts::kRemove;
  /// With kOverlay: the overlay is mounted with "userxattr", its attributes are user.overlay.*.
  bool user_xattr = false;
  /// With kOverlay: the lower directories, topmost first. A directory that the archive takes for
  /// granted gets owner, mode, times and attributes from there; otherwise the new one would hide
  /// them.
  std::vector<std::string> lower_dirs = {};
};

/// One extraction. One thread at a time.
class Extractor {
 public:
  /// Borrows `root`, which must outlive it.
  Extractor(const RootDir* root, ExtractOptions options)
      : root_(root), options_(std::move(options)) {}

  /// Applies all entries. On an error the directory holds part of the layer. INVALID_ARGUMENT for
  /// an archive that is malformed or climbs out of the root, naming the entry.
  Status extract(TarReader* archive);

 private:
  using Inode = std::pair<dev_t, ino_t>;
  using Names = std::unordered_set<std::string>;
  struct DirTimes {
    std::string path;
    TarTime atime;
    TarTime mtime;
  };

  Status apply_entry(const TarEntry& entry, TarReader* archive);
  Status enter_parent(const EntryPath& path);
  Status mark_created(int parent, const std::string& name, const std::string& path);
  Status copy_from_lower(int parent, const std::string& name, const std::string& path);

  Status apply_whiteout(const std::string& base);
  Status make_opaque(int parent, const std::string& name);
  class Prune;
  Result<bool> prune(int dir);
  void forget(const struct stat& info);
  static bool brings(const Names* brought, const std::string& name);

  Status make_file(const std::string& base, const TarEntry& entry, TarReader* archive);
  Status make_directory(const EntryPath& path, const TarEntry& entry);
  Status make_symlink(const std::string& base, const TarEntry& entry);
  Status make_node(const std::string& base, const TarEntry& entry);
  Status make_hard_link(const std::string& base, const TarEntry& entry);
  Status set_link_attributes(const std::string& base, const TarEntry& entry);
  Status remove_existing(const std::string& base);
  Status set_xattrs(int fd, bool path_only, const TarEntry& entry);
  Status set_directory_times();

  const RootDir* root_;
  ExtractOptions options_;

  // The directory of the entry before: archives list the content of a directory together. Only the
  // descriptor is used; the path decides whether the next entry has the same parent. It is given up
  // after every step that may have changed what the path leads to, that is all but the addition of
  // a new name.
  std::string parent_path_;
  UniqueFd parent_;
  Names* parent_names_ = nullptr;

  std::map<Inode, Names> unpacked_;
  std::vector<DirTimes> directory_times_;
};

/// Whether the calling process lives in a user namespace other than the first.
bool in_user_namespace();

}  // namespace berth::diff_walking
