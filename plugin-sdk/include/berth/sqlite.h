// SQLite as values: a connection, prepared statements, a transaction that is undone unless
// committed. Thin on purpose: SQL stays visible where it is used.
//
// Thread rule: a Database and all that was made from it belong to one thread at a time; guard them
// with one mutex, or give every thread its own Database.
#pragma once

#include <berth/status.h>
#include <sqlite3.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace berth::sqlite {

/// The status of a failed call on `db`: CONSTRAINT gives ALREADY_EXISTS, FULL and TOOBIG
/// RESOURCE_EXHAUSTED, as does an I/O error for want of room, BUSY, LOCKED and PROTOCOL
/// UNAVAILABLE, CORRUPT and NOTADB DATA_LOSS, READONLY and PERM PERMISSION_DENIED, anything else
/// INTERNAL. `attempt` names operation and object.
Status error_status(sqlite3* db, int code, std::string_view attempt);

/// A prepared statement. Movable. Its Database must outlive it.
class Statement {
 public:
  Statement() = default;

  /// Binds to the index-th parameter, counted from 1. Text and blobs are copied. Returns *this, so
  /// that bindings chain; an error (out of memory, no such parameter) shows at step().
  Statement& bind(int index, int64_t value);
  Statement& bind(int index, std::string_view text);
  Statement& bind_blob(int index, std::string_view bytes);
  Statement& bind_null(int index);

  /// True: a row is there to be read. False: done; the statement is reset, bindings kept.
  Result<bool> step();
  /// step() for statements without rows; resets, also on failure.
  Status run();
  /// Ends reading early and lets go of the read transaction. Bindings are kept.
  void reset();

  /// Columns of the current row, counted from 0. Text is valid until the next step() or reset().
  /// NULL reads as 0 or "".
  int64_t integer(int column) const { return sqlite3_column_int64(raw_.get(), column); }
  std::string_view text(int column) const;
  bool is_null(int column) const { return sqlite3_column_type(raw_.get(), column) == SQLITE_NULL; }

  explicit operator bool() const { return raw_ != nullptr; }

 private:
  friend class Database;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  explicit Statement(sqlite3_stmt* raw) : raw_(raw) {}
  std::unique_ptr<sqlite3_stmt, Finalize> raw_;
  int bind_error_ = SQLITE_OK;
};

/// What a transaction may do with the little room that is kept for a full disk.
enum class Room {
  kLeave,  // it adds: refused when the database would have to grow and cannot
  kUse,    // it removes: succeeds on a full disk
};

/// A connection. Movable; statements stay valid when it moves.
///
/// A disk that is full to the last block does not keep a transaction from being committed: the log
/// keeps its blocks, the file grows before it is needed, both are overwritten in place, and the
/// index of the log is in memory. Other processes cannot open a database that is open in this one.
/// See docs/decisions/0007.
class Database {
 public:
  Database() = default;

  struct Options {
    bool read_only = false;
    /// How long to wait for a lock of another connection.
    int busy_timeout_ms = 10'000;
    /// Gives a new database its tables. It runs when there is no file `path`, on a file beside it
    /// that takes its place once it is whole and synced: nobody ever sees half of it. Needs two
    /// syncs, where the same statements on an open database need seven.
    std::function<Status(Database&)> make = nullptr;
    /// Bytes of log that are allocated at once and kept when the database is closed. What a
    /// transaction that removes changes has to fit.
    int64_t log_room = 256 << 10;
  };

  /// Opens `path`, made with mode 0600 when absent; journal_mode=WAL, synchronous=FULL (a commit
  /// that returned survives power loss), foreign keys on.
  static Result<Database> open(const std::string& path);
  static Result<Database> open(const std::string& path, const Options& options);

  /// Runs statements without parameters and without rows, separated by semicolons.
  Status exec(const std::string& sql);
  /// Compiles one statement.
  Result<Statement> prepare(std::string_view sql);
  /// The number in the header that tells which version of its format a database has; 0 for a new
  /// one.
  Result<int64_t> user_version();
  Status set_user_version(int64_t version);

  /// Within a transaction, before COMMIT: the file has room for all its pages, and for a few more
  /// unless `room` says that these may be used. RESOURCE_EXHAUSTED when it cannot grow. A system
  /// call every 64 new pages, none otherwise. Transaction::commit() does it.
  Status claim_room(Room room);
  /// After a transaction that was refused with RESOURCE_EXHAUSTED: writes the log back, so that the
  /// next one is written over it from its beginning. Waits for readers. with_log_room() does it.
  Status reuse_log();
  /// Writes the log back and closes. To be used on the last connection; log_left() is false then.
  void close();
  /// Whether the log of database `path` holds something: whoever used it last did not close() it.
  static bool log_left(const std::string& path);

  int64_t last_insert_id() const { return sqlite3_last_insert_rowid(raw_.get()); }
  /// Rows that the last INSERT, UPDATE or DELETE changed.
  int64_t changes() const { return sqlite3_changes64(raw_.get()); }
  sqlite3* raw() const { return raw_.get(); }
  explicit operator bool() const { return raw_ != nullptr; }

 private:
  struct Close {
    void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
  };
  explicit Database(sqlite3* raw) : raw_(raw) {}
  static Result<Database> connect(const std::string& path, const Options& options);
  static Status make(const std::string& path, const Options& options);
  Status keep_room(const std::string& path, int64_t log_room);
  int64_t file_size() const;
  friend class Transaction;
  /// Runs a statement without rows, compiled once.
  Status run(std::string_view sql, Statement* compiled);
  std::unique_ptr<sqlite3, Close> raw_;
  Statement begin_read_, begin_write_, commit_, rollback_;  // by their first use
  // Of a connection that may write, otherwise empty:
  Statement page_count_;
  int64_t page_size_ = 0;
  int64_t file_pages_ = 0;  // that have their place in the file; never fewer again
  int64_t log_room_ = 0;    // still to be allocated
};

/// A transaction from begin() to commit(); rolled back when it is destroyed before that.
class Transaction {
 public:
  /// For reading: what is read is one state of the database.
  static Result<Transaction> read(Database& db) {
    return begin(db, "BEGIN DEFERRED", &db.begin_read_);
  }
  /// For writing: takes the write lock at once, so a later statement cannot fail for want of it.
  static Result<Transaction> write(Database& db) {
    return begin(db, "BEGIN IMMEDIATE", &db.begin_write_);
  }

  Transaction(Transaction&& other) noexcept : db_(std::exchange(other.db_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();

  /// On failure the transaction is rolled back. All statements that read must be reset.
  Status commit(Room room = Room::kLeave);

 private:
  explicit Transaction(Database* db) : db_(db) {}
  static Result<Transaction> begin(Database& db, std::string_view sql, Statement* begins);
  Database* db_;
};

inline const Status& status_of(const Status& status) { return status; }
template <typename T>
const Status& status_of(const Result<T>& result) {
  return result.status();
}

/// Runs `work`, a whole transaction on `db` that returns a Status or Result, and once more when
/// there was no room for it in the log.
template <typename Work>
auto with_log_room(Database& db, const Work& work) -> decltype(work()) {
  auto outcome = work();
  if (status_of(outcome).code() == Code::kResourceExhausted && db.reuse_log().ok()) return work();
  return outcome;
}

}  // namespace berth::sqlite
