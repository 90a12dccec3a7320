// What the kernel's overlayfs can do here, asked once at the start.
#pragma once

#include <berth/snapshot_records.h>
#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace berth::overlay {

/// OK when overlayfs works on the file system of `directory`, which must exist: tried with two
/// lower layers in a folder made and removed there, without mounting anything. FAILED_PRECONDITION
/// tells what is in the way.
Status check_support(const std::string& directory);

/// Whether the process lives in a user namespace other than the first.
bool in_user_namespace();

/// Options that mounts need beyond those of the configuration: userxattr in a user namespace
/// (trusted.* attributes are out of reach there), index=off where the kernel knows it (an index
/// makes layers that are used twice fail with EBUSY). What the configuration sets is left alone.
std::vector<std::string> with_needed_options(std::vector<std::string> configured, bool userxattr,
                                             bool kernel_has_index);
bool kernel_has_parameter(const std::string& name);

/// Whether overlay mounts can have idmapped layers (Linux 5.19).
bool supports_idmapped_layers();

struct Owner {
  uid_t uid;
  gid_t gid;
};

/// The host's ids of the container's root, from the labels containerd.io/snapshot/uidmapping and
/// gidmapping, each "CONTAINER:HOST:SIZE[,…]". Nothing without these labels. INVALID_ARGUMENT for a
/// broken mapping or one without root.
Result<std::optional<Owner>> mapped_root(const SnapshotLabels& labels);

inline constexpr std::string_view kUidMappingLabel = "containerd.io/snapshot/uidmapping";
inline constexpr std::string_view kGidMappingLabel = "containerd.io/snapshot/gidmapping";

}  // namespace berth::overlay
