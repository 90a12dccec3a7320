// What nothing refers to, found over one state of the database while writers go on, and removed
// from the database in small transactions.
#pragma once

#include <set>
#include <vector>

#include "store.h"

namespace berth::metadata {

/// One row that a collection may remove.
struct Garbage {
  std::string kind;  // content, snapshot, image, ingest, lease
  std::string ns;
  std::string key;  // of a snapshot: "<snapshotter>/<key>"
};

/// One collection's view. Between construction and destruction everything that becomes referenced
/// is noted, in the very transaction that refers to it (temporary triggers on the writer's
/// connection), so that sweep() spares it. One at a time.
class Collection {
 public:
  explicit Collection(Store& store) : store_(store) {}
  ~Collection();

  /// Takes notes from here on, then finds all that no root leads to. Roots: containers, sandboxes,
  /// images that have not expired, what leases that have not expired hold, gc.root and gc.expire
  /// labels, ingests of the last day. `now`: nanoseconds since 1970.
  Result<std::vector<Garbage>> mark(int64_t now);

  struct Swept {
    std::vector<Garbage> removed;
    /// On a full disk, why the rest was not: what is gone from the records makes room once it is
    /// gone from the stores, and another collection goes on. Otherwise OK.
    Status refused;
  };
  /// Removes, in transactions of limited size, what has stayed unreferenced.
  Result<Swept> sweep(const std::vector<Garbage>& garbage, int64_t now);

 private:
  using Kept = std::set<std::tuple<std::string, std::string, std::string>>;  // kind, ns, key
  static Status kept_since(Connection& db, Kept* out);
  static Result<bool> remove(Tx& tx, const Garbage& garbage, int64_t now);

  Store& store_;
  bool noting_ = false;
};

}  // namespace berth::metadata
