#include "garbage.h"

#include <span>

#include "references.h"

namespace berth::metadata {
namespace {

// Rows removed in one transaction. Most collections fit, and are seen whole or not at all.
constexpr size_t kBatch = 2000;

// Dijkstra's write barrier: whatever gains a reference, a row or a root label after the mark began.
constexpr const char* kBeginNotes = R"sql(
CREATE TEMP TABLE touched (ns TEXT, kind TEXT, key TEXT);
CREATE TEMP TRIGGER touched_ref AFTER INSERT ON main.refs BEGIN
  INSERT INTO touched VALUES (new.ns, new.to_kind, new.to_key);
END;
CREATE TEMP TRIGGER touched_back_ref AFTER INSERT ON main.back_refs BEGIN
  INSERT INTO touched VALUES (new.ns, new.kind, new.key);
END;
CREATE TEMP TRIGGER touched_resource AFTER INSERT ON main.lease_resources BEGIN
  INSERT INTO touched VALUES (new.ns, new.kind, new.key);
END;
CREATE TEMP TRIGGER touched_content AFTER INSERT ON main.content BEGIN
  INSERT INTO touched VALUES (new.ns, 'content', new.digest);
END;
CREATE TEMP TRIGGER touched_content_update AFTER UPDATE ON main.content BEGIN
  INSERT INTO touched VALUES (new.ns, 'content', new.digest);
END;
CREATE TEMP TRIGGER touched_snapshot AFTER INSERT ON main.snapshots BEGIN
  INSERT INTO touched VALUES (new.ns, 'snapshot', new.snapshotter || '/' || new.key);
END;
CREATE TEMP TRIGGER touched_snapshot_update AFTER UPDATE ON main.snapshots BEGIN
  INSERT INTO touched VALUES (new.ns, 'snapshot', new.snapshotter || '/' || new.key);
END;
CREATE TEMP TRIGGER touched_image AFTER INSERT ON main.images BEGIN
  INSERT INTO touched VALUES (new.ns, 'image', new.name);
END;
CREATE TEMP TRIGGER touched_image_update AFTER UPDATE ON main.images BEGIN
  INSERT INTO touched VALUES (new.ns, 'image', new.name);
END;
CREATE TEMP TRIGGER touched_ingest AFTER INSERT ON main.ingests BEGIN
  INSERT INTO touched VALUES (new.ns, 'ingest', new.ref);
END;
CREATE TEMP TRIGGER touched_ingest_update AFTER UPDATE ON main.ingests BEGIN
  INSERT INTO touched VALUES (new.ns, 'ingest', new.ref);
END;
)sql";

// Triggers go with their connection's schema, not with the table of notes.
constexpr const char* kEndNotes = R"sql(
DROP TRIGGER IF EXISTS temp.touched_ref;
DROP TRIGGER IF EXISTS temp.touched_back_ref;
DROP TRIGGER IF EXISTS temp.touched_resource;
DROP TRIGGER IF EXISTS temp.touched_content;
DROP TRIGGER IF EXISTS temp.touched_content_update;
DROP TRIGGER IF EXISTS temp.touched_snapshot;
DROP TRIGGER IF EXISTS temp.touched_snapshot_update;
DROP TRIGGER IF EXISTS temp.touched_image;
DROP TRIGGER IF EXISTS temp.touched_image_update;
DROP TRIGGER IF EXISTS temp.touched_ingest;
DROP TRIGGER IF EXISTS temp.touched_ingest_update;
DROP TABLE IF EXISTS temp.touched;
)sql";

// What roots lead to, then everything else. `flat`: reached through a flat lease, whose objects
// keep only what they consist of (parents, targets), not what their labels name. A snapshot's row
// is younger than its parent's: youngest first means children first.
constexpr std::string_view kMark = R"sql(
WITH RECURSIVE marked (ns, kind, key, flat) AS (
  SELECT ns, 'image', name, 0 FROM images WHERE root_until > ?1
  UNION SELECT ns, 'content', digest, 0 FROM content WHERE root_until > ?1
  UNION SELECT ns, 'snapshot', snapshotter || '/' || key, 0 FROM snapshots WHERE root_until > ?1
  UNION SELECT ns, 'ingest', ref, 0 FROM ingests WHERE root_until > ?1
  UNION SELECT ns, 'container', id, 0 FROM containers
  UNION SELECT ns, 'sandbox', id, 0 FROM sandboxes
  UNION SELECT r.ns, r.kind, r.key, l.flat
    FROM leases l JOIN lease_resources r ON r.ns = l.ns AND r.lease = l.id WHERE l.root_until > ?1
  UNION SELECT r.ns, r.to_kind, r.to_key, m.flat
    FROM marked m CROSS JOIN refs r ON r.ns = m.ns AND r.kind = m.kind AND r.key = m.key
    WHERE m.flat = 0 OR r.by_label = 0
  UNION SELECT b.ns, b.kind, b.key, 0
    FROM marked m CROSS JOIN back_refs b
      ON b.ns = m.ns AND b.from_kind = m.kind AND b.from_key = m.key
    WHERE m.flat = 0
),
garbage (kind, ns, key) AS (
  SELECT * FROM (
    SELECT 'content', ns, digest FROM content
    UNION ALL SELECT 'snapshot', ns, snapshotter || '/' || key FROM snapshots
    UNION ALL SELECT 'image', ns, name FROM images
    UNION ALL SELECT 'ingest', ns, ref FROM ingests)
  EXCEPT SELECT kind, ns, key FROM marked
)
SELECT g.kind, g.ns, g.key, s.rowid FROM garbage g
  LEFT JOIN snapshots s ON g.kind = 'snapshot' AND s.ns = g.ns
    AND s.snapshotter = substr(g.key, 1, instr(g.key, '/') - 1)
    AND s.key = substr(g.key, instr(g.key, '/') + 1)
  ORDER BY s.rowid DESC
)sql";

constexpr std::string_view kKeptSince = R"sql(
WITH RECURSIVE kept (ns, kind, key) AS (
  SELECT ns, kind, key FROM temp.touched
  UNION SELECT r.ns, r.to_kind, r.to_key
    FROM kept m CROSS JOIN refs r ON r.ns = m.ns AND r.kind = m.kind AND r.key = m.key
  UNION SELECT b.ns, b.kind, b.key
    FROM kept m CROSS JOIN back_refs b
      ON b.ns = m.ns AND b.from_kind = m.kind AND b.from_key = m.key
)
SELECT kind, ns, key FROM kept
)sql";

Status read_expired_leases(Connection& db, int64_t now, std::vector<Garbage>* out) {
  Query query(db, "SELECT ns, id FROM leases WHERE root_until <= ?1", now);
  while (true) {
    BERTH_ASSIGN_OR_RETURN(const bool found, query.next());
    if (!found) return {};
    out->push_back({"lease", query.string(0), query.string(1)});
  }
}

}  // namespace

Collection::~Collection() {
  if (!noting_) return;
  (void)store_.write(
      [](Tx& tx) {
        tx.mark_removal();
        return tx.exec(kEndNotes);
      },
      Store::Durability::kRelaxed);
}

Result<std::vector<Garbage>> Collection::mark(int64_t now) {
  noting_ = true;
  // What a collection that failed may have left goes first.
  BERTH_RETURN_IF_ERROR(store_.write(
      [](Tx& tx) {
        tx.mark_removal();
        return tx.exec(std::string(kEndNotes) + kBeginNotes);
      },
      Store::Durability::kRelaxed));
  std::vector<Garbage> garbage;
  const Status read = store_.read([&](Connection& db) -> Status {
    Query query(db, kMark, now);
    while (true) {
      BERTH_ASSIGN_OR_RETURN(const bool found, query.next());
      if (!found) break;
      garbage.push_back({query.string(0), query.string(1), query.string(2)});
    }
    return read_expired_leases(db, now, &garbage);
  });
  if (!read.ok()) return read.with_context("find garbage");
  return garbage;
}

Status Collection::kept_since(Connection& db, Kept* out) {
  Query query(db, kKeptSince);
  while (true) {
    BERTH_ASSIGN_OR_RETURN(const bool found, query.next());
    if (!found) return {};
    out->emplace(query.string(0), query.string(1), query.string(2));
  }
}

Result<Collection::Swept> Collection::sweep(const std::vector<Garbage>& garbage, int64_t now) {
  Swept result;
  std::span<const Garbage> rest(garbage);
  size_t most = kBatch;
  while (!rest.empty()) {
    const auto batch = rest.first(std::min(most, rest.size()));
    std::vector<Garbage> gone;
    // What a power loss brings back is garbage again.
    const Status swept = store_.write(
        [&](Tx& tx) -> Status {
          tx.mark_removal();
          gone.clear();
          Kept kept;
          BERTH_RETURN_IF_ERROR(kept_since(tx, &kept));
          for (const Garbage& item : batch) {
            if (kept.contains({item.kind, item.ns, item.key})) continue;
            BERTH_ASSIGN_OR_RETURN(const bool was_there, remove(tx, item, now));
            if (was_there) gone.push_back(item);
          }
          return {};
        },
        Store::Durability::kRelaxed);
    if (swept.code() == Code::kResourceExhausted && batch.size() > 1) {
      most = batch.size() / 2;  // on a full disk the log has room for so much at a time
      continue;
    }
    if (swept.code() == Code::kResourceExhausted) {
      result.refused = swept.with_context("remove garbage");
      return result;
    }
    if (!swept.ok()) return swept.with_context("remove garbage");
    rest = rest.subspan(batch.size());
    result.removed.insert(result.removed.end(), gone.begin(), gone.end());
  }
  return result;
}

Result<bool> Collection::remove(Tx& tx, const Garbage& item, int64_t now) {
  if (item.kind == "lease") {
    BERTH_RETURN_IF_ERROR(run(tx,
                              "DELETE FROM leases WHERE ns = ?1 AND id = ?2 AND root_until <= ?3",
                              item.ns, item.key, now));
    const bool expired = tx.changes() > 0;
    if (expired) {
      BERTH_RETURN_IF_ERROR(
          run(tx, "DELETE FROM lease_resources WHERE ns = ?1 AND lease = ?2", item.ns, item.key));
    }
    return expired;
  }
  Kind kind = Kind::kContent;
  if (item.kind == "content") {
    BERTH_RETURN_IF_ERROR(
        run(tx, "DELETE FROM content WHERE ns = ?1 AND digest = ?2", item.ns, item.key));
  } else if (item.kind == "image") {
    kind = Kind::kImage;
    BERTH_RETURN_IF_ERROR(
        run(tx, "DELETE FROM images WHERE ns = ?1 AND name = ?2", item.ns, item.key));
  } else if (item.kind == "ingest") {
    kind = Kind::kIngest;
    BERTH_RETURN_IF_ERROR(run(tx,
                              "INSERT OR IGNORE INTO discarded SELECT 'ingest', '', backend "
                              "FROM ingests WHERE ns = ?1 AND ref = ?2",
                              item.ns, item.key));
    BERTH_RETURN_IF_ERROR(
        run(tx, "DELETE FROM ingests WHERE ns = ?1 AND ref = ?2", item.ns, item.key));
  } else {
    kind = Kind::kSnapshot;
    const size_t slash = item.key.find('/');
    BERTH_RETURN_IF_ERROR(
        run(tx, "DELETE FROM snapshots WHERE ns = ?1 AND snapshotter = ?2 AND key = ?3", item.ns,
            item.key.substr(0, slash), item.key.substr(slash + 1)));
  }
  const bool removed = tx.changes() > 0;
  BERTH_RETURN_IF_ERROR(drop_references(tx, item.ns, kind, item.key));
  return removed;
}

}  // namespace berth::metadata
