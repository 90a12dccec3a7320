#include "schema.h"

namespace berth::metadata {
namespace {

// "BRTH": tells a file of ours from any other SQLite database.
constexpr int64_t kApplicationId = 0x42525448;

// Times are nanoseconds since 1970, UTC. `labels` and `annotations` are JSON objects of strings.
// Protobuf messages (`spec`, `options`, `extensions`) are kept as they came.
// root_until: 0 when only references keep an object, else the time from which it may be collected;
// 9223372036854775807 means never.
constexpr const char* kVersion1 = R"sql(
CREATE TABLE namespaces (
  name   TEXT PRIMARY KEY,
  labels TEXT NOT NULL DEFAULT '{}'
) WITHOUT ROWID;

CREATE TABLE containers (
  ns TEXT NOT NULL, id TEXT NOT NULL,
  labels TEXT NOT NULL, image TEXT NOT NULL,
  runtime TEXT NOT NULL, options BLOB NOT NULL, spec BLOB NOT NULL,
  snapshotter TEXT NOT NULL, snapshot_key TEXT NOT NULL,
  extensions BLOB NOT NULL, sandbox TEXT NOT NULL,
  created INTEGER NOT NULL, updated INTEGER NOT NULL,
  UNIQUE (ns, id)
);

CREATE TABLE images (
  ns TEXT NOT NULL, name TEXT NOT NULL,
  labels TEXT NOT NULL,
  media_type TEXT NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL, annotations TEXT NOT NULL,
  created INTEGER NOT NULL, updated INTEGER NOT NULL, root_until INTEGER NOT NULL,
  UNIQUE (ns, name)
);

CREATE TABLE content (
  ns TEXT NOT NULL, digest TEXT NOT NULL,
  size INTEGER NOT NULL, labels TEXT NOT NULL,
  created INTEGER NOT NULL, updated INTEGER NOT NULL, root_until INTEGER NOT NULL,
  UNIQUE (ns, digest)
);
CREATE INDEX content_digest ON content (digest);

CREATE TABLE ingests (
  ns TEXT NOT NULL, ref TEXT NOT NULL,
  backend TEXT NOT NULL,            -- name of the ingest in the content store
  expected TEXT NOT NULL,           -- digest of a blob of another namespace that is to be shared
  started INTEGER NOT NULL,
  root_until INTEGER NOT NULL,
  PRIMARY KEY (ns, ref)
) WITHOUT ROWID;
CREATE INDEX ingests_expected ON ingests (expected) WHERE expected <> '';

CREATE TABLE snapshots (
  ns TEXT NOT NULL, snapshotter TEXT NOT NULL, key TEXT NOT NULL,
  backend TEXT NOT NULL,            -- name in the snapshotter: "<ns>/<number>/<key>"
  parent TEXT NOT NULL,             -- key, or empty
  labels TEXT NOT NULL,
  created INTEGER NOT NULL, updated INTEGER NOT NULL, root_until INTEGER NOT NULL,
  UNIQUE (ns, snapshotter, key)
);
CREATE INDEX snapshots_parent ON snapshots (ns, snapshotter, parent) WHERE parent <> '';
CREATE INDEX snapshots_backend ON snapshots (snapshotter, backend);

CREATE TABLE leases (
  ns TEXT NOT NULL, id TEXT NOT NULL,
  labels TEXT NOT NULL, created INTEGER NOT NULL,
  flat INTEGER NOT NULL,            -- 1: what the resources refer to is not leased
  root_until INTEGER NOT NULL,
  UNIQUE (ns, id)
);
CREATE TABLE lease_resources (
  ns TEXT NOT NULL, lease TEXT NOT NULL,
  kind TEXT NOT NULL, key TEXT NOT NULL,
  PRIMARY KEY (ns, lease, kind, key)
) WITHOUT ROWID;

CREATE TABLE sandboxes (
  ns TEXT NOT NULL, id TEXT NOT NULL,
  labels TEXT NOT NULL, runtime TEXT NOT NULL, options BLOB NOT NULL, spec BLOB NOT NULL,
  extensions BLOB NOT NULL, sandboxer TEXT NOT NULL,
  created INTEGER NOT NULL, updated INTEGER NOT NULL,
  UNIQUE (ns, id)
);

-- What keeps what. Kinds: content, snapshot, image, container, ingest, sandbox; the key of a
-- snapshot is "<snapshotter>/<key>". The other end need not exist (yet).
-- by_label 0: the object itself needs it (target, parent, rootfs); 1: a gc.ref label says so.
CREATE TABLE refs (
  ns TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL,
  to_kind TEXT NOT NULL, to_key TEXT NOT NULL, by_label INTEGER NOT NULL,
  PRIMARY KEY (ns, kind, key, to_kind, to_key, by_label)
) WITHOUT ROWID;
-- gc.bref labels: (kind, key) lives as long as (from_kind, from_key).
CREATE TABLE back_refs (
  ns TEXT NOT NULL, from_kind TEXT NOT NULL, from_key TEXT NOT NULL,
  kind TEXT NOT NULL, key TEXT NOT NULL,
  PRIMARY KEY (ns, from_kind, from_key, kind, key)
) WITHOUT ROWID;
CREATE INDEX back_refs_owner ON back_refs (ns, kind, key);

-- What the stores behind still have and no row names any more. The collector removes it there, then
-- here.
CREATE TABLE discarded (
  kind TEXT NOT NULL,               -- content, ingest, snapshot
  store TEXT NOT NULL,              -- the snapshotter, or empty
  name TEXT NOT NULL,
  PRIMARY KEY (kind, store, name)
) WITHOUT ROWID;
CREATE TRIGGER content_discard AFTER DELETE ON content BEGIN
  INSERT OR IGNORE INTO discarded VALUES ('content', '', old.digest);
END;
CREATE TRIGGER snapshots_discard AFTER DELETE ON snapshots BEGIN
  INSERT OR IGNORE INTO discarded VALUES ('snapshot', old.snapshotter, old.backend);
END;

-- Numbers in backend names below this one may have been used.
CREATE TABLE sequence (next INTEGER NOT NULL);
INSERT INTO sequence VALUES (1);
)sql";

constexpr const char* kMigrations[] = {kVersion1};

Result<int64_t> pragma(sqlite::Database& db, const std::string& name) {
  BERTH_ASSIGN_OR_RETURN(sqlite::Statement statement, db.prepare("PRAGMA " + name));
  BERTH_ASSIGN_OR_RETURN(const bool row, statement.step());
  return row ? statement.integer(0) : 0;
}

}  // namespace

std::span<const char* const> migrations() { return kMigrations; }

Status migrate(sqlite::Database& db, const std::string& path, std::span<const char* const> steps) {
  BERTH_ASSIGN_OR_RETURN(int64_t version, db.user_version());
  BERTH_ASSIGN_OR_RETURN(const int64_t application, pragma(db, "application_id"));
  BERTH_ASSIGN_OR_RETURN(const int64_t objects, [&]() -> Result<int64_t> {
    BERTH_ASSIGN_OR_RETURN(sqlite::Statement count,
                           db.prepare("SELECT count(*) FROM sqlite_master"));
    BERTH_ASSIGN_OR_RETURN(const bool row, count.step());
    return row ? count.integer(0) : 0;
  }());
  const bool fresh = version == 0 && objects == 0;
  if (!fresh && application != kApplicationId) {
    return failed_precondition("open metadata database " + path +
                               ": it is a database of another program; move it away");
  }
  if (version > static_cast<int64_t>(steps.size())) {
    return failed_precondition("open metadata database " + path + ": its format has version " +
                               std::to_string(version) + ", this program knows up to " +
                               std::to_string(steps.size()) + "; use a newer release");
  }
  for (; version < static_cast<int64_t>(steps.size()); ++version) {
    BERTH_ASSIGN_OR_RETURN(sqlite::Transaction transaction, sqlite::Transaction::write(db));
    const std::string context =
        "bring metadata database " + path + " to format version " + std::to_string(version + 1);
    const Status status = db.exec(steps[static_cast<size_t>(version)]);
    if (!status.ok()) return {status.code(), context + ": " + sqlite3_errmsg(db.raw())};
    BERTH_RETURN_IF_ERROR(db.exec("PRAGMA application_id=" + std::to_string(kApplicationId)));
    BERTH_RETURN_IF_ERROR(db.set_user_version(version + 1));
    BERTH_RETURN_IF_ERROR(transaction.commit().with_context(context));
  }
  return {};
}

}  // namespace berth::metadata
