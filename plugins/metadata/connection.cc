#include "connection.h"

namespace berth::metadata {

Result<Connection::Cached*> Connection::cached(std::string_view sql) {
  auto found = statements_.find(sql);
  if (found == statements_.end()) {
    BERTH_ASSIGN_OR_RETURN(sqlite::Statement statement, db_.prepare(sql));
    found = statements_.emplace(std::string(sql), Cached{std::move(statement), false}).first;
  }
  if (found->second.in_use) {
    return internal_error("query \"" + std::string(sql) + "\" is begun while it is being read");
  }
  return &found->second;
}

Query::Query(Connection& connection, std::string_view sql, std::nullptr_t) {
  Result<Connection::Cached*> cached = connection.cached(sql);
  if (!cached.ok()) {
    status_ = cached.status();
    return;
  }
  cached_ = *cached;
  cached_->in_use = true;
}

Query::~Query() {
  if (cached_ == nullptr) return;
  cached_->statement.reset();
  cached_->in_use = false;
}

Result<bool> Query::next() {
  if (cached_ == nullptr) return status_;
  return cached_->statement.step();
}

Status Query::run() {
  if (cached_ == nullptr) return status_;
  return cached_->statement.run();
}

}  // namespace berth::metadata
