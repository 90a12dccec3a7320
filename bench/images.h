// Snapshots and layers through a daemon's API.
#pragma once

#include <google/protobuf/repeated_ptr_field.h>

#include <string>

#include "client.h"
#include "containerd/types/mount.pb.h"

namespace berth::bench {

using Mounts = google::protobuf::RepeatedPtrField<containerd::types::Mount>;

constexpr char kSnapshotter[] = "overlayfs";

/// An active snapshot on `parent`, which may be empty. It is a root for the garbage collector.
Mounts prepare_snapshot(Client& client, const std::string& key, const std::string& parent);

/// Unpacks a blob that the daemon has into `mounts`; throws when what came out is not `diff_id`.
void apply_layer(Client& client, const Mounts& mounts, const std::string& media_type,
                 const std::string& digest, size_t size, const std::string& diff_id);

/// Commits the active snapshot `key` as `name`, a root for the garbage collector too.
void commit_snapshot(Client& client, const std::string& key, const std::string& name);

void remove_snapshot(Client& client, const std::string& key);

}  // namespace berth::bench
