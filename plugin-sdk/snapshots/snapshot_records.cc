#include <berth/snapshot_records.h>
#include <berth/sqlite.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <optional>

namespace berth {
namespace {

using sqlite::Database;
using sqlite::Room;
using sqlite::Statement;
using sqlite::Transaction;
using sqlite::with_log_room;

constexpr int64_t kFormat = 1;
constexpr int kPage = 100;  // records read per transaction of a walk

// AUTOINCREMENT: the id of a removed snapshot, whose tree may still be on disk, is not given again.
constexpr const char* kSchema = R"(
CREATE TABLE snapshots(
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  key     TEXT NOT NULL UNIQUE,
  parent  INTEGER REFERENCES snapshots(id),
  kind    INTEGER NOT NULL CHECK(kind IN (1, 2, 3)),
  size    INTEGER NOT NULL DEFAULT 0,
  inodes  INTEGER NOT NULL DEFAULT 0,
  created INTEGER NOT NULL,
  updated INTEGER NOT NULL
) STRICT;
CREATE INDEX snapshots_by_parent ON snapshots(parent) WHERE parent IS NOT NULL;
CREATE TABLE labels(
  snapshot INTEGER NOT NULL REFERENCES snapshots(id) ON DELETE CASCADE,
  key      TEXT NOT NULL,
  value    TEXT NOT NULL,
  PRIMARY KEY(snapshot, key)
) STRICT, WITHOUT ROWID;
)";

#define BERTH_RECORD_COLUMNS                                            \
  "s.id, s.key, p.key, s.kind, s.size, s.inodes, s.created, s.updated " \
  "FROM snapshots s LEFT JOIN snapshots p ON p.id = s.parent "

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

SnapshotRecord read_record(const Statement& row) {
  SnapshotRecord record;
  record.id = static_cast<uint64_t>(row.integer(0));
  record.key = row.text(1);
  record.parent = row.text(2);
  record.kind = static_cast<SnapshotKind>(row.integer(3));
  record.usage = {row.integer(4), row.integer(5)};
  record.created_ns = row.integer(6);
  record.updated_ns = row.integer(7);
  return record;
}

Status no_snapshot(std::string_view key) {
  return not_found("snapshot \"" + std::string(key) + "\": not found");
}

Status unusable_parent(std::string_view key, const SnapshotRecord& parent) {
  return invalid_argument("snapshot \"" + std::string(key) + "\": its parent \"" + parent.key +
                          "\" is " + std::string(snapshot_kind_name(parent.kind)) +
                          ", only committed snapshots can be parents");
}

std::optional<std::string> field_of(const SnapshotRecord& record,
                                    std::span<const std::string> path) {
  if (path[0] == "kind") return std::string(snapshot_kind_name(record.kind));
  if (path[0] == "name") return record.key;
  if (path[0] == "parent") return record.parent;
  if (path[0] == "labels") {
    const auto found = record.labels.find(joined_field_path(path.subspan(1)));
    if (found != record.labels.end()) return found->second;
  }
  return std::nullopt;
}

// A connection with its prepared statements. The holder's mutex guards it.
struct Connection {
  Database db;
  Statement by_key;
  Statement label_rows;
  Statement parents;

  Status prepare() {
    BERTH_ASSIGN_OR_RETURN(by_key, db.prepare("SELECT " BERTH_RECORD_COLUMNS "WHERE s.key = ?1"));
    BERTH_ASSIGN_OR_RETURN(label_rows,
                           db.prepare("SELECT key, value FROM labels WHERE snapshot = ?1"));
    BERTH_ASSIGN_OR_RETURN(
        parents, db.prepare("WITH RECURSIVE chain(id, depth) AS ("
                            " SELECT parent, 1 FROM snapshots WHERE id = ?1 AND parent IS NOT NULL"
                            " UNION ALL SELECT s.parent, chain.depth + 1 FROM chain"
                            " JOIN snapshots s ON s.id = chain.id WHERE s.parent IS NOT NULL)"
                            "SELECT id FROM chain ORDER BY depth"));
    return {};
  }

  // The record without labels, or nothing.
  Result<std::optional<SnapshotRecord>> find(std::string_view key) {
    BERTH_ASSIGN_OR_RETURN(const bool row, by_key.bind(1, key).step());
    if (!row) return std::optional<SnapshotRecord>();
    std::optional<SnapshotRecord> record = read_record(by_key);
    by_key.reset();
    return record;
  }

  Status read_labels(SnapshotRecord* record) {
    label_rows.bind(1, static_cast<int64_t>(record->id));
    for (;;) {
      BERTH_ASSIGN_OR_RETURN(const bool row, label_rows.step());
      if (!row) return {};
      record->labels.emplace(label_rows.text(0), label_rows.text(1));
    }
  }

  Status read_parents(uint64_t id, std::vector<uint64_t>* out) {
    parents.bind(1, static_cast<int64_t>(id));
    for (;;) {
      BERTH_ASSIGN_OR_RETURN(const bool row, parents.step());
      if (!row) return {};
      out->push_back(static_cast<uint64_t>(parents.integer(0)));
    }
  }
};

// The writing connection. Each function is one transaction.
struct Writer : Connection {
  Statement clear_labels;
  Statement add_label;
  Statement add;
  Statement to_committed;
  Statement child;
  Statement erase;
  Statement touch;

  Status prepare();
  Status insert(const Snapshot& draft);
  Status commit(std::string_view key, std::string_view name, const SnapshotUsage& usage,
                const SnapshotLabels& labels);
  Result<SnapshotRecord> remove(std::string_view key);
  Result<SnapshotRecord> update(std::string_view key, const SnapshotLabels& labels,
                                std::span<const std::string> paths);
  // When the reading connection is closed: the next start finds an empty log.
  void close() {
    Database last = std::move(db);
    *this = Writer();  // without its statements
    last.close();
  }

 private:
  Status write_labels(uint64_t id, const SnapshotLabels& values);
};

Status Writer::prepare() {
  BERTH_RETURN_IF_ERROR(Connection::prepare());
  BERTH_ASSIGN_OR_RETURN(clear_labels, db.prepare("DELETE FROM labels WHERE snapshot = ?1"));
  BERTH_ASSIGN_OR_RETURN(add_label, db.prepare("INSERT INTO labels VALUES(?1, ?2, ?3)"));
  BERTH_ASSIGN_OR_RETURN(
      add, db.prepare("INSERT INTO snapshots(id, key, parent, kind, created, updated) "
                      "VALUES(?1, ?2, ?3, ?4, ?5, ?6)"));
  BERTH_ASSIGN_OR_RETURN(to_committed,
                         db.prepare("UPDATE snapshots SET key = ?2, kind = ?3, size = ?4, "
                                    "inodes = ?5, created = ?6, updated = ?6 WHERE id = ?1"));
  BERTH_ASSIGN_OR_RETURN(child, db.prepare("SELECT key FROM snapshots WHERE parent = ?1 LIMIT 1"));
  BERTH_ASSIGN_OR_RETURN(erase, db.prepare("DELETE FROM snapshots WHERE id = ?1"));
  BERTH_ASSIGN_OR_RETURN(touch, db.prepare("UPDATE snapshots SET updated = ?2 WHERE id = ?1"));
  return {};
}

Status Writer::write_labels(uint64_t id, const SnapshotLabels& values) {
  BERTH_RETURN_IF_ERROR(clear_labels.bind(1, static_cast<int64_t>(id)).run());
  for (const auto& [key, value] : values) {
    // An empty value means no label, as in containerd.
    if (value.empty()) continue;
    BERTH_RETURN_IF_ERROR(
        add_label.bind(1, static_cast<int64_t>(id)).bind(2, key).bind(3, value).run());
  }
  return {};
}

Status Writer::insert(const Snapshot& draft) {
  const SnapshotRecord& record = draft.record;
  BERTH_ASSIGN_OR_RETURN(Transaction transaction, Transaction::write(db));
  if (!record.parent.empty()) {
    BERTH_ASSIGN_OR_RETURN(const auto above, find(record.parent));
    // The same name with another id is another snapshot; the draft's tree is not based on it.
    if (!above || above->id != draft.parents.front()) {
      return no_snapshot(record.parent).with_context("parent of \"" + record.key + "\"");
    }
    if (above->kind != SnapshotKind::kCommitted) return unusable_parent(record.key, *above);
  }
  BERTH_ASSIGN_OR_RETURN(const auto existing, find(record.key));
  if (existing) return already_exists("snapshot \"" + record.key + "\": already exists");
  add.bind(1, static_cast<int64_t>(record.id)).bind(2, record.key);
  if (record.parent.empty()) {
    add.bind_null(3);
  } else {
    add.bind(3, static_cast<int64_t>(draft.parents.front()));
  }
  add.bind(4, static_cast<int64_t>(record.kind));
  BERTH_RETURN_IF_ERROR(add.bind(5, record.created_ns).bind(6, record.updated_ns).run());
  BERTH_RETURN_IF_ERROR(write_labels(record.id, record.labels));
  return transaction.commit().with_context("record snapshot \"" + record.key + "\"");
}

Status Writer::commit(std::string_view key, std::string_view name, const SnapshotUsage& usage,
                      const SnapshotLabels& labels) {
  const std::string what = "commit of snapshot \"" + std::string(key) + "\"";
  if (name.empty()) return invalid_argument(what + " without a name");
  BERTH_ASSIGN_OR_RETURN(Transaction transaction, Transaction::write(db));
  BERTH_ASSIGN_OR_RETURN(const auto active, find(key));
  if (!active) return no_snapshot(key).with_context("commit");
  BERTH_ASSIGN_OR_RETURN(const auto existing, find(name));
  if (existing) return already_exists(what + ": \"" + std::string(name) + "\" already exists");
  if (active->kind != SnapshotKind::kActive) {
    return failed_precondition(what + ": it is " + std::string(snapshot_kind_name(active->kind)) +
                               ", not active");
  }
  to_committed.bind(1, static_cast<int64_t>(active->id)).bind(2, name);
  to_committed.bind(3, static_cast<int64_t>(SnapshotKind::kCommitted));
  BERTH_RETURN_IF_ERROR(
      to_committed.bind(4, usage.bytes).bind(5, usage.inodes).bind(6, now_ns()).run());
  BERTH_RETURN_IF_ERROR(write_labels(active->id, labels));
  return transaction.commit().with_context(what);
}

Result<SnapshotRecord> Writer::remove(std::string_view key) {
  BERTH_ASSIGN_OR_RETURN(Transaction transaction, Transaction::write(db));
  BERTH_ASSIGN_OR_RETURN(const auto record, find(key));
  if (!record) return no_snapshot(key).with_context("remove");
  BERTH_ASSIGN_OR_RETURN(const bool has_child,
                         child.bind(1, static_cast<int64_t>(record->id)).step());
  if (has_child) {
    const std::string name(child.text(0));
    child.reset();
    return failed_precondition("remove of snapshot \"" + record->key + "\": it has children, \"" +
                               name + "\" is one; remove them first");
  }
  BERTH_RETURN_IF_ERROR(erase.bind(1, static_cast<int64_t>(record->id)).run());
  BERTH_RETURN_IF_ERROR(
      transaction.commit(Room::kUse).with_context("remove snapshot \"" + record->key + "\""));
  return *record;
}

Result<SnapshotRecord> Writer::update(std::string_view key, const SnapshotLabels& labels,
                                      std::span<const std::string> paths) {
  constexpr std::string_view kOneLabel = "labels.";
  BERTH_ASSIGN_OR_RETURN(Transaction transaction, Transaction::write(db));
  BERTH_ASSIGN_OR_RETURN(auto record, find(key));
  if (!record) return no_snapshot(key).with_context("update");
  BERTH_RETURN_IF_ERROR(read_labels(&*record));
  if (paths.empty()) record->labels = labels;
  for (const std::string& path : paths) {
    if (path == "labels") {
      record->labels = labels;
    } else if (path.starts_with(kOneLabel)) {
      const std::string name = path.substr(kOneLabel.size());
      const auto given = labels.find(name);
      record->labels[name] = given == labels.end() ? "" : given->second;
    } else {
      return invalid_argument("update of snapshot \"" + record->key + "\": field \"" + path +
                              "\" cannot be changed, only labels can");
    }
  }
  std::erase_if(record->labels, [](const auto& label) { return label.second.empty(); });
  record->updated_ns = now_ns();
  BERTH_RETURN_IF_ERROR(
      touch.bind(1, static_cast<int64_t>(record->id)).bind(2, record->updated_ns).run());
  BERTH_RETURN_IF_ERROR(write_labels(record->id, record->labels));
  BERTH_RETURN_IF_ERROR(transaction.commit());
  return *std::move(record);
}

}  // namespace

std::string_view snapshot_kind_name(SnapshotKind kind) {
  switch (kind) {
    case SnapshotKind::kView:
      return "view";
    case SnapshotKind::kActive:
      return "active";
    case SnapshotKind::kCommitted:
      return "committed";
  }
  return "unknown";
}

// Two connections, so that readers do not wait for a writer's fsync. Mutexes are never nested.
struct SnapshotRecords::Store {
  std::mutex write_mutex;
  Writer writer;

  std::mutex read_mutex;
  Connection reader;
  Statement page;
  Statement everything;

  std::mutex id_mutex;
  uint64_t last_id = 0;
};

SnapshotRecords::SnapshotRecords(std::unique_ptr<Store> store) : store_(std::move(store)) {}

SnapshotRecords::~SnapshotRecords() {
  store_->page = Statement();
  store_->everything = Statement();
  store_->reader = Connection();
  store_->writer.close();
}

Result<std::unique_ptr<SnapshotRecords>> SnapshotRecords::open(const std::string& path) {
  auto store = std::make_unique<Store>();
  Database& db = store->writer.db;
  Database::Options options;
  options.make = [](Database& fresh) -> Status {
    BERTH_RETURN_IF_ERROR(fresh.exec(kSchema));
    return fresh.set_user_version(kFormat);
  };
  BERTH_ASSIGN_OR_RETURN(db, Database::open(path, options));
  BERTH_ASSIGN_OR_RETURN(const int64_t format, db.user_version());
  if (format > kFormat) {
    return failed_precondition("snapshot records " + path + " are of format " +
                               std::to_string(format) + ", this version knows formats up to " +
                               std::to_string(kFormat) + "; use a newer one");
  }
  if (format == 0) {  // an empty file
    BERTH_ASSIGN_OR_RETURN(Transaction transaction, Transaction::write(db));
    BERTH_RETURN_IF_ERROR(options.make(db));
    BERTH_RETURN_IF_ERROR(transaction.commit());
  }
  BERTH_RETURN_IF_ERROR(store->writer.prepare());
  BERTH_ASSIGN_OR_RETURN(Statement sequence,
                         db.prepare("SELECT seq FROM sqlite_sequence WHERE name = 'snapshots'"));
  BERTH_ASSIGN_OR_RETURN(const bool row, sequence.step());
  if (row) store->last_id = static_cast<uint64_t>(sequence.integer(0));

  BERTH_ASSIGN_OR_RETURN(store->reader.db, Database::open(path, {.read_only = true}));
  BERTH_RETURN_IF_ERROR(store->reader.prepare());
  BERTH_ASSIGN_OR_RETURN(store->page,
                         store->reader.db.prepare("SELECT " BERTH_RECORD_COLUMNS
                                                  "WHERE s.key > ?1 ORDER BY s.key LIMIT ?2"));
  BERTH_ASSIGN_OR_RETURN(store->everything,
                         store->reader.db.prepare("SELECT " BERTH_RECORD_COLUMNS));
  return std::unique_ptr<SnapshotRecords>(new SnapshotRecords(std::move(store)));  // private ctor
}

void SnapshotRecords::reserve_ids(uint64_t highest) {
  const std::lock_guard lock(store_->id_mutex);
  store_->last_id = std::max(store_->last_id, highest);
}

Result<Snapshot> SnapshotRecords::draft(SnapshotKind kind, std::string_view key,
                                        std::string_view parent, SnapshotLabels labels) {
  if (key.empty()) return invalid_argument("a snapshot needs a key, none was given");
  Snapshot draft;
  draft.record.key = key;
  draft.record.parent = parent;
  draft.record.kind = kind;
  draft.record.labels = std::move(labels);
  draft.record.created_ns = draft.record.updated_ns = now_ns();
  {
    const std::lock_guard lock(store_->read_mutex);
    Connection& reader = store_->reader;
    BERTH_ASSIGN_OR_RETURN(const Transaction transaction, Transaction::read(reader.db));
    if (!parent.empty()) {
      BERTH_ASSIGN_OR_RETURN(const auto above, reader.find(parent));
      if (!above) return no_snapshot(parent).with_context("parent of \"" + draft.record.key + "\"");
      if (above->kind != SnapshotKind::kCommitted) return unusable_parent(key, *above);
      draft.parents.push_back(above->id);
      BERTH_RETURN_IF_ERROR(reader.read_parents(above->id, &draft.parents));
    }
    BERTH_ASSIGN_OR_RETURN(const auto existing, reader.find(key));
    if (existing) return already_exists("snapshot \"" + draft.record.key + "\": already exists");
  }
  const std::lock_guard lock(store_->id_mutex);
  draft.record.id = ++store_->last_id;
  return draft;
}

Status SnapshotRecords::insert(const Snapshot& draft) {
  const std::lock_guard lock(store_->write_mutex);
  Writer& writer = store_->writer;
  return with_log_room(writer.db, [&] { return writer.insert(draft); });
}
Result<SnapshotRecord> SnapshotRecords::stat(std::string_view key) const {
  const std::lock_guard lock(store_->read_mutex);
  Connection& reader = store_->reader;
  BERTH_ASSIGN_OR_RETURN(const Transaction transaction, Transaction::read(reader.db));
  BERTH_ASSIGN_OR_RETURN(auto record, reader.find(key));
  if (!record) return no_snapshot(key);
  BERTH_RETURN_IF_ERROR(reader.read_labels(&*record));
  return *std::move(record);
}

Result<Snapshot> SnapshotRecords::snapshot(std::string_view key) const {
  const std::lock_guard lock(store_->read_mutex);
  Connection& reader = store_->reader;
  BERTH_ASSIGN_OR_RETURN(const Transaction transaction, Transaction::read(reader.db));
  BERTH_ASSIGN_OR_RETURN(auto record, reader.find(key));
  if (!record) return no_snapshot(key);
  Snapshot snapshot;
  snapshot.record = *std::move(record);
  BERTH_RETURN_IF_ERROR(reader.read_labels(&snapshot.record));
  BERTH_RETURN_IF_ERROR(reader.read_parents(snapshot.record.id, &snapshot.parents));
  return snapshot;
}

bool SnapshotRecords::exists(std::string_view key) const {
  const std::lock_guard lock(store_->read_mutex);
  const auto record = store_->reader.find(key);
  return record.ok() && record->has_value();
}

Result<std::vector<SnapshotRecord>> SnapshotRecords::all() const {
  const std::lock_guard lock(store_->read_mutex);
  std::vector<SnapshotRecord> records;
  Statement& rows = store_->everything;
  for (;;) {
    BERTH_ASSIGN_OR_RETURN(const bool row, rows.step());
    if (!row) return records;
    records.push_back(read_record(rows));
  }
}

Status SnapshotRecords::commit(std::string_view key, std::string_view name,
                               const SnapshotUsage& usage, const SnapshotLabels& labels) {
  const std::lock_guard lock(store_->write_mutex);
  Writer& writer = store_->writer;
  return with_log_room(writer.db, [&] { return writer.commit(key, name, usage, labels); });
}

Result<SnapshotRecord> SnapshotRecords::remove(std::string_view key) {
  const std::lock_guard lock(store_->write_mutex);
  Writer& writer = store_->writer;
  return with_log_room(writer.db, [&] { return writer.remove(key); });
}

Result<SnapshotRecord> SnapshotRecords::update(std::string_view key, const SnapshotLabels& labels,
                                               std::span<const std::string> paths) {
  const std::lock_guard lock(store_->write_mutex);
  Writer& writer = store_->writer;
  return with_log_room(writer.db, [&] { return writer.update(key, labels, paths); });
}

Status SnapshotRecords::walk(const FilterSet& filters,
                             const std::function<Status(const SnapshotRecord&)>& visit) const {
  std::string after;
  for (;;) {
    std::vector<SnapshotRecord> page;
    {
      const std::lock_guard lock(store_->read_mutex);
      Connection& reader = store_->reader;
      BERTH_ASSIGN_OR_RETURN(const Transaction transaction, Transaction::read(reader.db));
      store_->page.bind(1, after).bind(2, kPage);
      for (;;) {
        BERTH_ASSIGN_OR_RETURN(const bool row, store_->page.step());
        if (!row) break;
        page.push_back(read_record(store_->page));
      }
      for (SnapshotRecord& record : page) BERTH_RETURN_IF_ERROR(reader.read_labels(&record));
    }
    if (page.empty()) return {};
    after = page.back().key;
    for (const SnapshotRecord& record : page) {
      const auto field = [&record](std::span<const std::string> path) {
        return field_of(record, path);
      };
      if (filters.matches(field)) BERTH_RETURN_IF_ERROR(visit(record));
    }
  }
}

}  // namespace berth
