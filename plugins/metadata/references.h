// References as rows: what an object's labels and fields say about which objects it keeps alive,
// and until when it is kept by itself.
#pragma once

#include "clock.h"
#include "labels.h"
#include "store.h"

namespace berth::metadata {

enum class Kind { kContent, kSnapshot, kImage, kContainer, kIngest, kSandbox };

/// As the tables refs, back_refs and lease_resources have it.
std::string_view kind_name(Kind kind);
/// The key of a snapshot there.
std::string snapshot_node(std::string_view snapshotter, std::string_view key);

inline constexpr int64_t kForever = INT64_MAX;

/// The column root_until of content and snapshots: containerd.io/gc.root, or
/// containerd.io/gc.expire until its time, else 0: only references keep them.
int64_t root_until(const Labels& labels);
/// The column root_until of images and leases, which are roots by themselves: until
/// containerd.io/gc.expire, else for ever. A time that is not RFC 3339 is ignored, as containerd
/// does.
int64_t lifetime(const Labels& labels);
/// Whether containerd.io/gc.flat is among the labels of a lease.
bool is_flat(const Labels& labels);

/// Replaces the references that `labels` of an object make: containerd.io/gc.ref.* and gc.bref.*.
Status write_label_references(Connection& db, std::string_view ns, Kind kind, std::string_view key,
                              const Labels& labels);
/// Adds a reference that the object itself makes (an image's target, a snapshot's parent, …).
Status add_reference(Connection& db, std::string_view ns, Kind kind, std::string_view key,
                     Kind to_kind, std::string_view to_key);
/// Removes all references that an object makes.
Status drop_references(Connection& db, std::string_view ns, Kind kind, std::string_view key);

}  // namespace berth::metadata
