// Removes from the stores behind what the database no longer names. All calls to the stores are
// made outside of transactions; reservations keep away from what is just being made.
#pragma once

#include <set>
#include <vector>

#include "backends.h"
#include "in_flight.h"
#include "store.h"

namespace berth::metadata {

/// One thread at a time.
class Reaper {
 public:
  Reaper(Store& store, ContentBackend& content, const SnapshotBackends& snapshotters,
         InFlight& in_flight, std::function<void(const std::string& line)> log)
      : store_(store),
        content_(content),
        snapshotters_(snapshotters),
        in_flight_(in_flight),
        log_(std::move(log)) {}

  /// How much went, by kind and store ("snapshot", "overlayfs").
  using Counts = std::map<std::pair<std::string, std::string>, uint64_t>;

  /// Removes what is in the table of discarded things. What a store does not let go (it hangs, it
  /// is not loaded, a snapshot has children that are not ours) is logged and stays in the table for
  /// the next time.
  Status reap(const Context& context, Counts* counts);

  /// Adds to the table what the stores have without a row naming it: left by a crash between making
  /// a thing and recording it. Snapshots and ingests count only if their names have our form. Does
  /// its work once for every store; later calls are free.
  void find_orphans(const Context& context);

 private:
  struct Item {
    std::string kind, store, name;
  };
  Status reap_content(const Context& context, const std::vector<Item>& items, Counts* counts);
  Status reap_ingests(const Context& context, const std::vector<Item>& items);
  Status reap_snapshots(const Context& context, const std::string& snapshotter,
                        std::vector<Item> items, Counts* counts);
  Status forget(const std::vector<Item>& items);
  Status note_orphans(const std::string& kind, const std::string& store,
                      const std::vector<std::string>& names, std::string_view still_named);

  Store& store_;
  ContentBackend& content_;
  const SnapshotBackends& snapshotters_;
  InFlight& in_flight_;
  const std::function<void(const std::string& line)> log_;
  std::set<std::string> searched_;  // stores whose orphans have been looked for
};

/// The number in a name of the form "<namespace>/<number>/<key>", nothing for other names.
std::optional<int64_t> backend_number(std::string_view name);

}  // namespace berth::metadata
