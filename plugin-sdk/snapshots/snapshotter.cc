#include <berth/file_tree.h>
#include <berth/snapshotter.h>
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

namespace berth {
namespace {

constexpr int kRecordsPerMessage = 100;  // as many as containerd puts into one

SnapshotLabels labels_of(const google::protobuf::Map<std::string, std::string>& labels) {
  return {labels.begin(), labels.end()};
}

void set_time(int64_t ns, google::protobuf::Timestamp* out) {
  out->set_seconds(ns / 1'000'000'000);
  out->set_nanos(static_cast<int32_t>(ns % 1'000'000'000));
}

Result<std::vector<std::string>> entries_of(const std::string& path) {
  DIR* dir = ::opendir(path.c_str());
  if (dir == nullptr) return errno_status(errno, "open directory " + path);
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(dir)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  ::closedir(dir);
  return names;
}

std::string quoted(const std::string& text) { return "\"" + text + "\""; }

}  // namespace

/// Commit and Remove of one key wait for each other: what one found must hold until it is recorded.
class Snapshotter::KeyLock {
 public:
  KeyLock(Snapshotter* owner, const std::string& key) : owner_(owner), key_(key) {
    std::unique_lock lock(owner_->mutex_);
    owner_->changed_.wait(lock, [&] { return owner_->locked_keys_.insert(key_).second; });
  }
  KeyLock(const KeyLock&) = delete;
  KeyLock& operator=(const KeyLock&) = delete;
  ~KeyLock() {
    const std::lock_guard lock(owner_->mutex_);
    owner_->locked_keys_.erase(key_);
    owner_->changed_.notify_all();
  }

 private:
  Snapshotter* owner_;
  const std::string key_;
};

/// Keeps remove_unrecorded() away from a tree until its record is written.
class Snapshotter::Making {
 public:
  Making(Snapshotter* owner, std::string place) : owner_(owner), place_(std::move(place)) {
    const std::lock_guard lock(owner_->mutex_);
    owner_->making_.insert(place_);
  }
  Making(const Making&) = delete;
  Making& operator=(const Making&) = delete;
  ~Making() {
    const std::lock_guard lock(owner_->mutex_);
    owner_->making_.erase(owner_->making_.find(place_));
  }

 private:
  Snapshotter* owner_;
  const std::string place_;
};

Snapshotter::Snapshotter(SnapshotterOptions options) : options_(std::move(options)) {}

Snapshotter::~Snapshotter() = default;

void Snapshotter::stop(int64_t deadline_ns) {
  std::unique_lock lock(mutex_);
  closing_ = true;
  while (removal_running_) {
    const int64_t left = deadline_ns - monotonic_now();
    if (left <= 0) return;
    // No wait of ages at once: the clock of the condition variable may be another.
    changed_.wait_for(lock, std::chrono::nanoseconds(std::min<int64_t>(left, 1'000'000'000)));
  }
}

Status Snapshotter::open() {
  if (!options_.root.starts_with('/')) {
    return invalid_argument("root directory " + quoted(options_.root) +
                            " of the snapshotter is not an absolute path; set root_path");
  }
  BERTH_RETURN_IF_ERROR(make_directories(options_.root, 0700));
  for (const std::string& folder : folders()) {
    BERTH_RETURN_IF_ERROR(make_directories(absolute(folder), 0700));
  }
  BERTH_ASSIGN_OR_RETURN(records_, SnapshotRecords::open(absolute("metadata.db")));
  return inspect_trees();
}

Status Snapshotter::inspect_trees() {
  std::set<std::string> found;
  for (const std::string& folder : folders()) {
    BERTH_ASSIGN_OR_RETURN(const auto names, entries_of(absolute(folder)));
    for (const std::string& name : names) {
      found.insert(folder + "/" + name);
      uint64_t id = 0;
      const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id);
      // A tree whose record was lost in a crash must not meet a new one of the same id.
      if (error == std::errc() && end == name.data() + name.size()) records_->reserve_ids(id);
    }
  }
  BERTH_ASSIGN_OR_RETURN(const auto records, records_->all());
  for (const SnapshotRecord& record : records) {
    const std::string relative = place(record);
    if (!relative.empty() && found.erase(relative) == 0) {
      missing_.insert(record.id);
      warn("snapshot " + quoted(record.key) + ": its tree " + absolute(relative) +
           " is gone from disk; it cannot be used any more: remove it and what is based on it");
    }
  }
  if (!found.empty()) {
    warn(std::to_string(found.size()) + " trees in " + options_.root +
         " belong to no snapshot (removed, or half-made when the daemon stopped) and are removed");
    if (options_.spawn) {
      schedule_removal();
    } else {
      remove_unrecorded();
    }
  }
  return {};
}

Status Snapshotter::check_trees(const Snapshot& snapshot) const {
  if (missing_.empty()) return {};
  std::vector<uint64_t> ids = snapshot.parents;
  ids.push_back(snapshot.record.id);
  for (const uint64_t id : ids) {
    if (missing_.contains(id)) {
      return data_loss("snapshot " + quoted(snapshot.record.key) + ": tree " + std::to_string(id) +
                       " in " + options_.root +
                       " is gone from disk; remove the snapshots based on it and unpack again");
    }
  }
  return {};
}

Result<Snapshotter::MountList> Snapshotter::create(SnapshotKind kind, const std::string& key,
                                                   const std::string& parent,
                                                   SnapshotLabels labels) {
  BERTH_ASSIGN_OR_RETURN(const Snapshot snapshot,
                         records_->draft(kind, key, parent, std::move(labels)));
  BERTH_RETURN_IF_ERROR(check_trees(snapshot));
  const std::string relative = place(snapshot.record);
  if (relative.empty()) {
    BERTH_RETURN_IF_ERROR(records_->insert(snapshot));
    return mounts_of(snapshot);
  }
  const Making making(this, relative);
  berth::Cleanup undo([&] {
    if (Status removed = remove_place(relative); !removed.ok()) {
      warn("undo of a failed Prepare or View: " + removed.message());
    }
  });
  BERTH_RETURN_IF_ERROR(make_tree(snapshot).with_context("make snapshot " + quoted(key)));
  BERTH_ASSIGN_OR_RETURN(auto mounts, mounts_of(snapshot));
  // A commit of the records overwrites blocks that they have and takes nothing else to the disk.
  if (options_.sync) BERTH_RETURN_IF_ERROR(sync_made(snapshot));
  BERTH_RETURN_IF_ERROR(records_->insert(snapshot));
  undo.dismiss();
  return mounts;
}

Status Snapshotter::Prepare(Context&, const snapshots_v1::PrepareSnapshotRequest& request,
                            snapshots_v1::PrepareSnapshotResponse* response) {
  BERTH_ASSIGN_OR_RETURN(auto mounts, create(SnapshotKind::kActive, request.key(), request.parent(),
                                             labels_of(request.labels())));
  for (auto& mount : mounts) *response->add_mounts() = std::move(mount);
  return {};
}

Status Snapshotter::View(Context&, const snapshots_v1::ViewSnapshotRequest& request,
                         snapshots_v1::ViewSnapshotResponse* response) {
  BERTH_ASSIGN_OR_RETURN(auto mounts, create(SnapshotKind::kView, request.key(), request.parent(),
                                             labels_of(request.labels())));
  for (auto& mount : mounts) *response->add_mounts() = std::move(mount);
  return {};
}

Status Snapshotter::Mounts(Context&, const snapshots_v1::MountsRequest& request,
                           snapshots_v1::MountsResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const Snapshot snapshot, records_->snapshot(request.key()));
  if (snapshot.record.kind == SnapshotKind::kCommitted) {
    return failed_precondition("mounts of snapshot " + quoted(request.key()) +
                               ": it is committed; prepare or view a snapshot on it");
  }
  BERTH_RETURN_IF_ERROR(check_trees(snapshot));
  BERTH_ASSIGN_OR_RETURN(auto mounts, mounts_of(snapshot));
  for (auto& mount : mounts) *response->add_mounts() = std::move(mount);
  return {};
}

Status Snapshotter::Commit(Context& ctx, const snapshots_v1::CommitSnapshotRequest& request,
                           google::protobuf::Empty*) {
  return commit(request.key(), request.name(), labels_of(request.labels()),
                [&ctx] { return ctx.cancelled(); });
}

Status Snapshotter::commit(const std::string& key, const std::string& name,
                           const SnapshotLabels& labels, const Cancelled& cancelled) {
  const KeyLock lock(this, key);
  BERTH_ASSIGN_OR_RETURN(const Snapshot active, records_->snapshot(key));
  // Asked again when it is recorded; here it saves the work.
  if (name.empty()) return invalid_argument("commit of snapshot " + quoted(key) + " without name");
  if (records_->exists(name)) {
    return already_exists("commit of snapshot " + quoted(key) + ": " + quoted(name) +
                          " already exists");
  }
  if (active.record.kind != SnapshotKind::kActive) {
    return failed_precondition("commit of snapshot " + quoted(key) + ": it is " +
                               std::string(snapshot_kind_name(active.record.kind)) +
                               ", not active");
  }
  BERTH_RETURN_IF_ERROR(check_trees(active));
  // Data first, record second: what is recorded survives power loss.
  if (options_.sync) BERTH_RETURN_IF_ERROR(sync_tree(active));
  BERTH_ASSIGN_OR_RETURN(const SnapshotUsage usage, measure(active, cancelled));

  SnapshotRecord committed = active.record;
  committed.key = name;
  committed.kind = SnapshotKind::kCommitted;
  const std::string from = place(active.record);
  const std::string to = place(committed);
  if (from == to) return records_->commit(key, name, usage, labels);

  const Making making(this, to);
  berth::Cleanup undo([&] {
    if (Status removed = remove_place(to); !removed.ok()) {
      warn("undo of a failed Commit: " + removed.message());
    }
  });
  BERTH_RETURN_IF_ERROR(commit_tree(active, committed).with_context("commit of " + quoted(key)));
  BERTH_RETURN_IF_ERROR(records_->commit(key, name, usage, labels));
  undo.dismiss();
  if (Status removed = remove_place(from); !removed.ok()) {
    warn("after the commit of snapshot " + quoted(key) + ": " + removed.message());
  }
  return {};
}

Status Snapshotter::Remove(Context&, const snapshots_v1::RemoveSnapshotRequest& request,
                           google::protobuf::Empty*) {
  const KeyLock lock(this, request.key());
  BERTH_ASSIGN_OR_RETURN(const SnapshotRecord record, records_->remove(request.key()));
  const std::string relative = place(record);
  if (relative.empty()) return {};
  if (!options_.sync_remove) {
    schedule_removal();
    return {};
  }
  // The key is gone whatever happens now, so a failure is news for the administrator alone.
  if (Status removed = remove_place(relative); !removed.ok()) {
    warn("removed snapshot " + quoted(request.key()) + ": " + removed.message());
  }
  return {};
}

Status Snapshotter::Stat(Context&, const snapshots_v1::StatSnapshotRequest& request,
                         snapshots_v1::StatSnapshotResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const SnapshotRecord record, records_->stat(request.key()));
  fill_info(record, response->mutable_info());
  return {};
}

Status Snapshotter::Update(Context&, const snapshots_v1::UpdateSnapshotRequest& request,
                           snapshots_v1::UpdateSnapshotResponse* response) {
  const std::vector<std::string> paths(request.update_mask().paths().begin(),
                                       request.update_mask().paths().end());
  BERTH_ASSIGN_OR_RETURN(
      const SnapshotRecord record,
      records_->update(request.info().name(), labels_of(request.info().labels()), paths));
  fill_info(record, response->mutable_info());
  return {};
}

Status Snapshotter::List(Context&, const snapshots_v1::ListSnapshotsRequest& request,
                         ServerWriter<snapshots_v1::ListSnapshotsResponse>& writer) {
  snapshots_v1::ListSnapshotsResponse response;
  const Status walked = walk(request.filters(), [&](const snapshots_v1::Info& info) -> Status {
    *response.add_info() = info;
    if (response.info_size() < kRecordsPerMessage) return {};
    if (!writer.Write(response)) return cancelled("list of snapshots: the caller has gone");
    response.Clear();
    return {};
  });
  BERTH_RETURN_IF_ERROR(walked);
  if (response.info_size() > 0 && !writer.Write(response)) {
    return cancelled("list of snapshots: the caller has gone");
  }
  return {};
}

Status Snapshotter::Usage(Context& ctx, const snapshots_v1::UsageRequest& request,
                          snapshots_v1::UsageResponse* response) {
  BERTH_ASSIGN_OR_RETURN(const Snapshot snapshot, records_->snapshot(request.key()));
  SnapshotUsage usage = snapshot.record.usage;
  if (snapshot.record.kind == SnapshotKind::kActive) {
    BERTH_RETURN_IF_ERROR(check_trees(snapshot));
    BERTH_ASSIGN_OR_RETURN(usage, measure(snapshot, [&ctx] { return ctx.cancelled(); }));
  }
  response->set_size(usage.bytes);
  response->set_inodes(usage.inodes);
  return {};
}

Status Snapshotter::Cleanup(Context&, const snapshots_v1::CleanupRequest&,
                            google::protobuf::Empty*) {
  remove_unrecorded();
  return {};
}

Status Snapshotter::walk_matching(
    const FilterSet& filters, const std::function<Status(const snapshots_v1::Info&)>& visit) const {
  return records_->walk(filters, [&](const SnapshotRecord& record) {
    snapshots_v1::Info info;
    fill_info(record, &info);
    return visit(info);
  });
}

void Snapshotter::fill_info(const SnapshotRecord& record, snapshots_v1::Info* info) const {
  info->set_name(record.key);
  info->set_parent(record.parent);
  info->set_kind(static_cast<snapshots_v1::Kind>(record.kind));
  set_time(record.created_ns, info->mutable_created_at());
  set_time(record.updated_ns, info->mutable_updated_at());
  SnapshotLabels labels = record.labels;
  add_labels(record, &labels);
  for (const auto& [key, value] : labels) (*info->mutable_labels())[key] = value;
}

void Snapshotter::remove_unrecorded() {
  const std::lock_guard removal(removal_mutex_);
  // The order matters: a tree seen now is recorded, or being made, or left over. Asking for what is
  // being made before asking for records misses none, since Making ends after the record is
  // written.
  std::set<std::string> unknown;
  for (const std::string& folder : folders()) {
    auto names = entries_of(absolute(folder));
    if (!names.ok()) {
      warn("clean-up: " + names.status().message());
      continue;
    }
    for (const std::string& name : *names) unknown.insert(folder + "/" + name);
  }
  {
    const std::lock_guard lock(mutex_);
    for (const std::string& relative : making_) unknown.erase(relative);
  }
  // In one read: page by page, a record that Commit renames meanwhile could be missed.
  const auto records = records_->all();
  if (!records.ok()) {
    warn("clean-up: nothing is removed, the records cannot be read: " + records.status().message());
    return;
  }
  for (const SnapshotRecord& record : *records) unknown.erase(place(record));
  for (const std::string& relative : unknown) {
    {
      const std::lock_guard lock(mutex_);
      if (closing_) return;
    }
    if (Status removed = remove_place(relative); !removed.ok()) {
      warn("clean-up: " + absolute(relative) + " stays on disk: " + removed.message());
    }
  }
}

void Snapshotter::schedule_removal() {
  if (!options_.spawn) return;
  {
    const std::lock_guard lock(mutex_);
    removal_wanted_ = true;
    if (removal_running_ || closing_) return;
    removal_running_ = true;
  }
  const auto work = [this] {
    for (;;) {
      {
        const std::lock_guard lock(mutex_);
        if (!removal_wanted_ || closing_) {
          removal_running_ = false;
          changed_.notify_all();
          return;
        }
        removal_wanted_ = false;
      }
      remove_unrecorded();
    }
  };
  if (!options_.spawn(work)) {
    // No thread to be had: the next Cleanup or the next removal does it.
    const std::lock_guard lock(mutex_);
    removal_running_ = false;
    changed_.notify_all();
  }
}

Status Snapshotter::commit_tree(const Snapshot&, const SnapshotRecord&) { return {}; }

Status Snapshotter::sync_made(const Snapshot& snapshot) const {
  const std::filesystem::path tree = absolute(place(snapshot.record));
  // The tree first: who finds it in its folder after a power loss finds what is in it.
  for (const std::filesystem::path& path : {tree, tree.parent_path()}) {
    const UniqueFd dir(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!dir || ::fsync(dir.get()) != 0)
      return errno_status(errno, "sync directory " + path.string());
  }
  return {};
}

Status Snapshotter::sync_tree(const Snapshot& snapshot) const {
  return sync_file_system(absolute(place(snapshot.record)));
}

Result<SnapshotUsage> Snapshotter::measure(const Snapshot& snapshot,
                                           const Cancelled& cancelled) const {
  BERTH_ASSIGN_OR_RETURN(const TreeUsage usage,
                         tree_usage(absolute(place(snapshot.record)), cancelled));
  return SnapshotUsage{usage.bytes, usage.inodes};
}

Status Snapshotter::remove_place(const std::string& relative) {
  return remove_tree(absolute(relative));
}

void Snapshotter::add_labels(const SnapshotRecord&, SnapshotLabels*) const {}

}  // namespace berth
