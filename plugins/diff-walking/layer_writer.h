// Writes changes as a layer: a tar archive with whiteouts, as the OCI image specification has it.
#pragma once

#include <berth/status.h>

#include <map>
#include <optional>
#include <unordered_set>
#include <vector>

#include "changes.h"
#include "tar_writer.h"

namespace berth::diff_walking {

/// One thread at a time.
class LayerWriter final : public ChangeSink {
 public:
  /// Reads files from `upper` and writes to `sink`, both borrowed. Times after `latest` become
  /// `latest`; whiteouts have the time 0, as those of containerd 2.
  LayerWriter(const RootDir* upper, ByteSink* sink, std::optional<TarTime> latest)
      : upper_(upper), archive_(sink), latest_(latest) {}

  Status on_change(const Change& change) override;
  /// Ends the archive.
  Status finish() { return archive_.finish(); }

 private:
  using Inode = std::pair<dev_t, ino_t>;

  Status write_entry(const Change& change);
  Status write_named(const std::string& path);
  Status write_whiteout(const std::string& path);
  Status write_parents(const std::string& path);
  Status write_content(const std::string& path, int fd, uint64_t size);
  Result<TarEntry> describe(const std::string& path, int fd, const struct stat& info) const;

  const RootDir* upper_;
  TarWriter archive_;
  std::optional<TarTime> latest_;
  std::unordered_set<std::string> written_dirs_;
  std::map<Inode, std::string> first_name_;                    // of inodes that are in the layer
  std::map<Inode, std::vector<std::string>> unchanged_names_;  // of inodes that are not, so far
};

}  // namespace berth::diff_walking
