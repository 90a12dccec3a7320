// What the cases of the differ kit have in common: a differ behind its service, with a content
// store in memory beside it and folders to unpack into.
#pragma once

#include <berth/digest.h>

#include <memory>

#include "containerd/services/diff/v1/diff.berth.h"
#include "validate/fixture.h"
#include "validate/kits/archive.h"
#include "validate/kits/memory_content.h"

namespace berth::ctl::validate {

namespace diff_api = containerd::services::diff::v1;

constexpr const char* kPlainLayer = "application/vnd.oci.image.layer.v1.tar";
constexpr const char* kGzipLayer = "application/vnd.oci.image.layer.v1.tar+gzip";
constexpr const char* kZstdLayer = "application/vnd.oci.image.layer.v1.tar+zstd";

/// Everything below a folder that a layer carries, by path: a line each.
using Tree = std::map<std::string, std::string>;
Tree tree_of(const std::string& folder, bool with_times = true);

class DifferKit : public PluginCase {
 protected:
  using Mounts = std::vector<containerd::types::Mount>;

  void SetUp() override;
  void TearDown() override;

  /// A new folder.
  std::string folder(const std::string& name) const;
  static containerd::types::Mount bind(const std::string& source, bool writable);
  /// Lower folders from the top down.
  static containerd::types::Mount overlay(const std::string& lower, const std::string& upper,
                                          const std::string& work);

  /// Applies a blob that is in the store.
  Result<containerd::types::Descriptor> apply_blob(const std::string& digest, int64_t size,
                                                   const std::string& media_type,
                                                   const Mounts& mounts);
  /// Stores the blob and applies it to a folder.
  Result<containerd::types::Descriptor> apply(const std::string& blob, const std::string& to,
                                              const std::string& media_type = kPlainLayer);
  Result<containerd::types::Descriptor> diff(const Mounts& left, const Mounts& right,
                                             const std::string& media_type = kPlainLayer,
                                             const std::string& ref = {});
  /// apply(copy of a, diff(a, b)) is b.
  void expect_same_tree(const std::string& a, const std::string& b, const Mounts& left,
                        const Mounts& right, const std::string& media_type);

  std::string directory_;
  std::shared_ptr<MemoryContent> content_;
  diff_api::DiffClient client_;
};

}  // namespace berth::ctl::validate
