// One SQLite connection with its compiled statements, and queries over it.
#pragma once

#include <berth/sqlite.h>

#include <concepts>
#include <map>

namespace berth::metadata {

/// A database connection that compiles every statement once. One thread at a time.
class Connection {
 public:
  Connection() = default;
  explicit Connection(sqlite::Database db) : db_(std::move(db)) {}

  sqlite::Database& db() { return db_; }
  Status exec(const std::string& sql) { return db_.exec(sql); }
  int64_t changes() const { return db_.changes(); }
  /// Of the last connection.
  void close() {
    statements_.clear();
    db_.close();
  }

 private:
  friend class Query;
  struct Cached {
    sqlite::Statement statement;
    bool in_use = false;
  };
  Result<Cached*> cached(std::string_view sql);

  sqlite::Database db_;
  std::map<std::string, Cached, std::less<>> statements_;
};

/// A parameter that is bytes, not text.
struct Bytes {
  std::string_view view;
};

/// One use of a statement: bound when constructed, released when destroyed. `sql` is the key of the
/// compiled statement, so values belong in parameters. Two queries with the same text cannot be
/// open at a time.
class Query {
 public:
  template <typename... Args>
  Query(Connection& connection, std::string_view sql, const Args&... args)
      : Query(connection, sql, nullptr) {
    if (cached_ != nullptr) {
      int index = 0;
      (bind(++index, args), ...);
    }
  }
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;
  ~Query();

  /// True: a row is there. False: no more.
  Result<bool> next();
  /// For statements without rows.
  Status run();

  int64_t integer(int column) const { return cached_->statement.integer(column); }
  /// Valid until the next row.
  std::string_view text(int column) const { return cached_->statement.text(column); }
  std::string string(int column) const { return std::string(text(column)); }

 private:
  Query(Connection& connection, std::string_view sql, std::nullptr_t);
  void bind(int index, std::integral auto value) {
    cached_->statement.bind(index, static_cast<int64_t>(value));
  }
  void bind(int index, std::string_view value) { cached_->statement.bind(index, value); }
  void bind(int index, Bytes value) { cached_->statement.bind_blob(index, value.view); }

  Status status_;
  Connection::Cached* cached_ = nullptr;
};

/// Whether a query has a row.
template <typename... Args>
Result<bool> exists(Connection& connection, std::string_view sql, const Args&... args) {
  Query query(connection, sql, args...);
  return query.next();
}

/// Runs a statement without rows.
template <typename... Args>
Status run(Connection& connection, std::string_view sql, const Args&... args) {
  Query query(connection, sql, args...);
  return query.run();
}

}  // namespace berth::metadata
