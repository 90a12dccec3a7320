// The stores behind, as plugins on the bus.
#pragma once

#include "backends.h"
#include "containerd/services/content/v1/content.berth.h"
#include "containerd/services/snapshots/v1/snapshots.berth.h"

namespace berth::metadata {

std::unique_ptr<ContentBackend> make_content_backend(
    containerd::services::content::v1::ContentClient client);

/// `name` goes into the field `snapshotter` of requests, which proxied snapshotters look at.
std::unique_ptr<SnapshotBackend> make_snapshot_backend(
    std::string name, containerd::services::snapshots::v1::SnapshotsClient client);

}  // namespace berth::metadata
