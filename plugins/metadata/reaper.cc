#include "reaper.h"

#include <algorithm>
#include <charconv>

namespace berth::metadata {
namespace {

// One call to a store. A store that needs longer hangs; it must not take the others with it.
constexpr std::chrono::seconds kCallTimeout(60);
constexpr size_t kBatch = 256;  // removals recorded in one transaction

constexpr std::string_view kContentNamed =
    "SELECT 1 FROM content WHERE digest = ?1 "
    "UNION ALL SELECT 1 FROM ingests WHERE expected = ?1 AND expected <> '' LIMIT 1";
constexpr std::string_view kIngestNamed = "SELECT 1 FROM ingests WHERE backend = ?1 LIMIT 1";
constexpr std::string_view kSnapshotNamed =
    "SELECT 1 FROM snapshots WHERE snapshotter = ?2 AND backend = ?1 LIMIT 1";

bool gone(const Status& status) { return status.ok() || status.code() == Code::kNotFound; }

// The store as a whole does not answer; the next call would not fare better.
bool hangs(const Status& status) {
  return status.code() == Code::kUnavailable || status.code() == Code::kDeadlineExceeded ||
         status.code() == Code::kCancelled;
}

}  // namespace

std::optional<int64_t> backend_number(std::string_view name) {
  const size_t first = name.find('/');
  if (first == std::string_view::npos || first == 0) return std::nullopt;
  const size_t second = name.find('/', first + 1);
  if (second == std::string_view::npos) return std::nullopt;
  const std::string_view digits = name.substr(first + 1, second - first - 1);
  int64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return number;
}

Status Reaper::reap(const Context& context, Counts* counts) {
  std::vector<Item> content;
  std::vector<Item> ingests;
  std::map<std::string, std::vector<Item>> snapshots;
  const Status read = store_.read([&](Connection& db) -> Status {
    Query query(db, "SELECT kind, store, name FROM discarded");
    while (true) {
      BERTH_ASSIGN_OR_RETURN(const bool found, query.next());
      if (!found) return {};
      Item item{query.string(0), query.string(1), query.string(2)};
      if (item.kind == "content") {
        content.push_back(std::move(item));
      } else if (item.kind == "ingest") {
        ingests.push_back(std::move(item));
      } else {
        snapshots[item.store].push_back(std::move(item));
      }
    }
  });
  if (!read.ok()) return read;
  for (auto& [snapshotter, items] : snapshots) {
    BERTH_RETURN_IF_ERROR(reap_snapshots(context, snapshotter, std::move(items), counts));
  }
  BERTH_RETURN_IF_ERROR(reap_content(context, content, counts));
  return reap_ingests(context, ingests);
}

Status Reaper::reap_content(const Context& context, const std::vector<Item>& items,
                            Counts* counts) {
  // Reservations are kept until the table says that the blobs are gone, so that one which comes
  // back at once is not forgotten.
  std::vector<InFlight::Hold> holds;
  std::vector<Item> done;
  const auto flush = [&]() -> Status {
    BERTH_RETURN_IF_ERROR(forget(done));
    done.clear();
    holds.clear();
    return {};
  };
  for (const Item& item : items) {
    auto hold = in_flight_.try_reserve(blob_name(item.name));
    if (!hold) continue;  // being committed
    bool named = false;
    const Status read = store_.read([&](Connection& db) -> Status {
      BERTH_ASSIGN_OR_RETURN(named, exists(db, kContentNamed, item.name));
      return {};
    });
    BERTH_RETURN_IF_ERROR(read);
    if (!named) {
      const Status removed = content_.remove(context.with_timeout(kCallTimeout), item.name);
      if (!gone(removed)) {
        log_("remove blob " + item.name + ": " + removed.to_string());
        if (hangs(removed)) break;
        continue;
      }
      if (removed.ok()) ++(*counts)[{"content", ""}];
    }
    done.push_back(item);
    holds.push_back(std::move(*hold));
    if (done.size() >= kBatch) BERTH_RETURN_IF_ERROR(flush());
  }
  return flush();
}

Status Reaper::reap_ingests(const Context& context, const std::vector<Item>& items) {
  std::vector<Item> done;
  for (const Item& item : items) {
    const Status aborted = content_.abort(context.with_timeout(kCallTimeout), item.name);
    if (gone(aborted)) {
      done.push_back(item);
      continue;
    }
    log_("abort ingest " + item.name + ": " + aborted.to_string());
    if (hangs(aborted)) break;
  }
  return forget(done);
}

Status Reaper::reap_snapshots(const Context& context, const std::string& snapshotter,
                              std::vector<Item> items, Counts* counts) {
  const auto found = snapshotters_.find(snapshotter);
  if (found == snapshotters_.end()) return {};  // not loaded; perhaps next time
  SnapshotBackend& backend = *found->second;
  // A child's number is higher than its parent's.
  std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) {
    return backend_number(a.name).value_or(0) > backend_number(b.name).value_or(0);
  });
  bool removed_any = false;
  bool progress = true;
  bool hanging = false;
  while (progress && !items.empty() && !hanging) {
    progress = false;
    std::vector<Item> later;
    std::vector<Item> done;
    for (Item& item : items) {
      if (hanging) break;
      const auto hold = in_flight_.try_reserve(backend_snapshot_name(snapshotter, item.name));
      if (!hold) continue;  // being made
      bool named = false;
      const Status read = store_.read([&](Connection& db) -> Status {
        BERTH_ASSIGN_OR_RETURN(named, exists(db, kSnapshotNamed, item.name, snapshotter));
        return {};
      });
      BERTH_RETURN_IF_ERROR(read);
      Status removed;
      if (!named) removed = backend.remove(context.with_timeout(kCallTimeout), item.name);
      if (gone(removed)) {
        if (!named && removed.ok()) ++(*counts)[{"snapshot", snapshotter}];
        removed_any = removed_any || !named;
        progress = true;
        done.push_back(std::move(item));
      } else if (removed.code() == Code::kFailedPrecondition) {
        later.push_back(std::move(item));  // has children that may go in this round
      } else {
        log_("remove snapshot " + item.name + " of " + snapshotter + ": " + removed.to_string());
        hanging = hangs(removed);
      }
    }
    BERTH_RETURN_IF_ERROR(forget(done));
    items = std::move(later);
  }
  if (!removed_any || hanging) return {};
  const Status cleaned = backend.cleanup(context.with_timeout(kCallTimeout));
  if (!cleaned.ok() && cleaned.code() != Code::kUnimplemented) {
    log_("clean up snapshotter " + snapshotter + ": " + cleaned.to_string());
  }
  return {};
}

// A power loss may bring the entries back: then the stores say NOT_FOUND.
Status Reaper::forget(const std::vector<Item>& items) {
  if (items.empty()) return {};
  return store_.write(
      [&](Tx& tx) -> Status {
        tx.mark_removal();
        for (const Item& item : items) {
          const Status removed =
              run(tx, "DELETE FROM discarded WHERE kind = ?1 AND store = ?2 AND name = ?3",
                  item.kind, item.store, item.name);
          if (!removed.ok()) return removed;
        }
        return {};
      },
      Store::Durability::kRelaxed);
}

void Reaper::find_orphans(const Context& context) {
  const auto search = [&](const std::string& what, const auto& find) {
    if (searched_.contains(what)) return;
    const Status status = find();
    if (status.ok()) {
      searched_.insert(what);
    } else {
      log_("look for unrecorded " + what + ": " + status.to_string());
    }
  };
  search("blobs", [&]() -> Status {
    std::vector<std::string> names;
    BERTH_RETURN_IF_ERROR(content_.list(context, [&](const std::string& digest) {
      names.push_back(digest);
      return true;
    }));
    return note_orphans("content", "", names, kContentNamed);
  });
  search("ingests", [&]() -> Status {
    containerd::services::content::v1::ListStatusesResponse all;
    BERTH_RETURN_IF_ERROR(content_.statuses(context, &all));
    std::vector<std::string> names;
    for (const auto& status : all.statuses()) {
      if (backend_number(status.ref())) names.push_back(status.ref());
    }
    return note_orphans("ingest", "", names, kIngestNamed);
  });
  for (const auto& [name, backend] : snapshotters_) {
    search("snapshots of " + name, [&, &snapshotter = name, &store = backend]() -> Status {
      std::vector<std::string> names;
      BERTH_RETURN_IF_ERROR(store->list(context.with_timeout(kCallTimeout), {},
                                        [&](const SnapshotBackend::Info& info) {
                                          if (backend_number(info.name())) {
                                            names.push_back(info.name());
                                          }
                                          return true;
                                        }));
      return note_orphans("snapshot", snapshotter, names, kSnapshotNamed);
    });
  }
}

Status Reaper::note_orphans(const std::string& kind, const std::string& store,
                            const std::vector<std::string>& names, std::string_view still_named) {
  std::vector<std::string> orphans;
  const Status read = store_.read([&](Connection& db) -> Status {
    for (const std::string& name : names) {
      bool named = false;
      if (kind == "snapshot") {
        BERTH_ASSIGN_OR_RETURN(named, exists(db, still_named, name, store));
      } else {
        BERTH_ASSIGN_OR_RETURN(named, exists(db, still_named, name));
      }
      if (!named) orphans.push_back(name);
    }
    return {};
  });
  BERTH_RETURN_IF_ERROR(read);
  if (orphans.empty()) return {};
  return store_.write(
      [&](Tx& tx) -> Status {
        tx.mark_removal();
        for (const std::string& name : orphans) {
          const Status noted =
              run(tx, "INSERT OR IGNORE INTO discarded VALUES (?1, ?2, ?3)", kind, store, name);
          if (!noted.ok()) return noted;
        }
        return {};
      },
      Store::Durability::kRelaxed);
}

}  // namespace berth::metadata
