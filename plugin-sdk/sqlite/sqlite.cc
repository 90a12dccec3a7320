#include <berth/fd.h>
#include <berth/sqlite.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "file_system.h"
#include "vfs.h"

namespace berth::sqlite {
namespace {

constexpr int64_t kFreePages = 64;  // the file is this many longer than what is in it
constexpr std::string_view kWhatToDo =
    "; there is no room on its file system: remove images, containers or snapshots, or make room "
    "otherwise";

bool no_room(sqlite3* db, int code) {
  if (code == SQLITE_FULL) return true;
  const int kind = code & 0xff;
  if (db == nullptr || (kind != SQLITE_IOERR && kind != SQLITE_CANTOPEN)) return false;
  const int error = sqlite3_system_errno(db);
  return error == ENOSPC || error == EDQUOT;
}

Code code_of(int code) {
  switch (code & 0xff) {
    case SQLITE_CONSTRAINT:
      return Code::kAlreadyExists;
    case SQLITE_FULL:
    case SQLITE_TOOBIG:
    case SQLITE_NOMEM:
      return Code::kResourceExhausted;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:  // another process stays at it
      return Code::kUnavailable;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Code::kDataLoss;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return Code::kPermissionDenied;
    default:
      return Code::kInternal;
  }
}

}  // namespace

Status error_status(sqlite3* db, int code, std::string_view attempt) {
  const char* name = db == nullptr ? nullptr : sqlite3_db_filename(db, "main");
  const char* why = db == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(db);
  const bool full = no_room(db, code);
  return {full ? Code::kResourceExhausted : code_of(code),
          std::string(attempt) + ", database " + (name == nullptr ? "" : name) + ": " + why +
              " (SQLite code " + std::to_string(code) + ")" + std::string(full ? kWhatToDo : "")};
}

Statement& Statement::bind(int index, int64_t value) {
  if (const int code = sqlite3_bind_int64(raw_.get(), index, value); code != SQLITE_OK)
    bind_error_ = code;
  return *this;
}

Statement& Statement::bind(int index, std::string_view text) {
  // A view without data is an empty text, not NULL.
  const char* data = text.data() == nullptr ? "" : text.data();
  const int code =
      sqlite3_bind_text64(raw_.get(), index, data, text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  if (code != SQLITE_OK) bind_error_ = code;
  return *this;
}

Statement& Statement::bind_blob(int index, std::string_view bytes) {
  const char* data = bytes.data() == nullptr ? "" : bytes.data();
  const int code = sqlite3_bind_blob64(raw_.get(), index, data, bytes.size(), SQLITE_TRANSIENT);
  if (code != SQLITE_OK) bind_error_ = code;
  return *this;
}

Statement& Statement::bind_null(int index) {
  if (const int code = sqlite3_bind_null(raw_.get(), index); code != SQLITE_OK) bind_error_ = code;
  return *this;
}

Result<bool> Statement::step() {
  sqlite3* db = sqlite3_db_handle(raw_.get());
  if (bind_error_ != SQLITE_OK) {
    const int code = std::exchange(bind_error_, SQLITE_OK);
    return error_status(db, code,
                        std::string("bind a parameter of \"") + sqlite3_sql(raw_.get()) + "\"");
  }
  const int code = sqlite3_step(raw_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) {
    sqlite3_reset(raw_.get());
    return false;
  }
  Status status = error_status(db, code, std::string("run \"") + sqlite3_sql(raw_.get()) + "\"");
  sqlite3_reset(raw_.get());
  return status;
}

Status Statement::run() {
  auto row = step();
  reset();
  return row.ok() ? Status() : row.status();
}

void Statement::reset() { sqlite3_reset(raw_.get()); }

std::string_view Statement::text(int column) const {
  const auto* data = static_cast<const char*>(sqlite3_column_blob(raw_.get(), column));
  const int size = sqlite3_column_bytes(raw_.get(), column);
  return data == nullptr ? std::string_view() : std::string_view(data, static_cast<size_t>(size));
}

Result<Database> Database::connect(const std::string& path, const Options& options) {
  if (!options.read_only) {
    // SQLite would make it with the umask's mode. One that exists is not opened here: closing a
    // descriptor of it would give up the locks that other connections of this process hold
    // (fcntl(2)), and another process could then take the log away from under them.
    const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!fd && errno != EEXIST) return errno_status(errno, "open database " + path);
    if (fd) overwrite_in_place(fd.get());
  }
  sqlite3* raw = nullptr;
  const int flags = (options.read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE) |
                    SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  const int code = sqlite3_open_v2(path.c_str(), &raw, flags, vfs_name());
  Database db(raw);
  if (code != SQLITE_OK) return error_status(raw, code, "open " + path);
  sqlite3_busy_timeout(raw, options.busy_timeout_ms);
  return db;
}

Status Database::make(const std::string& path, const Options& options) {
  const std::string fresh = path + ".new";  // what is left of an earlier attempt is worthless
  for (const char* suffix : {"", "-wal", "-shm", "-journal"}) {
    if (::unlink((fresh + suffix).c_str()) != 0 && errno != ENOENT)
      return errno_status(errno, "remove " + fresh + suffix);
  }
  {
    BERTH_ASSIGN_OR_RETURN(Database db, connect(fresh, options));
    BERTH_RETURN_IF_ERROR(
        db.exec("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA foreign_keys=ON"));
    BERTH_RETURN_IF_ERROR(options.make(db));
    BERTH_RETURN_IF_ERROR(db.exec("PRAGMA journal_mode=WAL"));
  }
  const UniqueFd file(::open(fresh.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file || ::fsync(file.get()) != 0) return errno_status(errno, "sync new database " + fresh);
  if (::rename(fresh.c_str(), path.c_str()) != 0)
    return errno_status(errno, "rename new database " + fresh + " to " + path);
  const std::string folder = path.substr(0, path.rfind('/') + 1);
  const UniqueFd directory(
      ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory || ::fsync(directory.get()) != 0)
    return errno_status(errno, "sync the folder of new database " + path);
  return {};
}

Result<Database> Database::open(const std::string& path) { return open(path, Options()); }

Result<Database> Database::open(const std::string& path, const Options& options) {
  if (!options.read_only && options.make && ::access(path.c_str(), F_OK) != 0 && errno == ENOENT)
    BERTH_RETURN_IF_ERROR(make(path, options));
  BERTH_ASSIGN_OR_RETURN(Database db, connect(path, options));
  if (!options.read_only) BERTH_RETURN_IF_ERROR(db.exec("PRAGMA journal_mode=WAL"));
  BERTH_RETURN_IF_ERROR(db.exec("PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON"));
  if (!options.read_only) BERTH_RETURN_IF_ERROR(db.keep_room(path, options.log_room));
  return db;
}

// What there is no room for now is asked for again by claim_room().
Status Database::keep_room(const std::string& path, int64_t log_room) {
  int keep_log = 1;
  sqlite3_file_control(raw(), "main", SQLITE_FCNTL_PERSIST_WAL, &keep_log);
  BERTH_ASSIGN_OR_RETURN(Statement size, prepare("PRAGMA page_size"));
  BERTH_RETURN_IF_ERROR(size.step().status());
  page_size_ = size.integer(0);
  size.reset();
  int chunk = static_cast<int>(kFreePages * page_size_);
  sqlite3_file_control(raw(), "main", SQLITE_FCNTL_CHUNK_SIZE, &chunk);
  file_pages_ = file_size() / page_size_;
  log_room_ = allocate_log(log_of(path), log_room) ? 0 : log_room;
  BERTH_ASSIGN_OR_RETURN(page_count_, prepare("PRAGMA page_count"));
  (void)claim_room(Room::kLeave);
  return {};
}

int64_t Database::file_size() const {
  sqlite3_file* file = nullptr;
  sqlite3_int64 size = 0;
  if (sqlite3_file_control(raw(), "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK ||
      file->pMethods->xFileSize(file, &size) != SQLITE_OK) {
    return 0;
  }
  return size;
}

Status Database::claim_room(Room room) {
  if (!page_count_) return {};
  if (log_room_ > 0 && allocate_log(log_of(sqlite3_db_filename(raw(), "main")), log_room_)) {
    log_room_ = 0;
  }
  BERTH_ASSIGN_OR_RETURN(const bool row, page_count_.step());
  const int64_t pages = row ? page_count_.integer(0) : 0;
  page_count_.reset();
  const int64_t wanted = pages + (room == Room::kUse ? 0 : kFreePages);
  if (wanted <= file_pages_) return {};
  sqlite3_int64 bytes = wanted * page_size_;
  sqlite3_file_control(raw(), "main", SQLITE_FCNTL_SIZE_HINT, &bytes);
  file_pages_ = file_size() / page_size_;
  if (wanted <= file_pages_) return {};
  return resource_exhausted(std::string("database ") + sqlite3_db_filename(raw(), "main") +
                            " cannot grow" + std::string(kWhatToDo));
}

Status Database::reuse_log() {
  const int code =
      sqlite3_wal_checkpoint_v2(raw(), nullptr, SQLITE_CHECKPOINT_RESTART, nullptr, nullptr);
  return code == SQLITE_OK ? Status() : error_status(raw(), code, "write back the log");
}

void Database::close() {
  if (!raw_) return;
  int in_log = -1;
  int written_back = -2;
  sqlite3_wal_checkpoint_v2(raw(), nullptr, SQLITE_CHECKPOINT_PASSIVE, &in_log, &written_back);
  const std::string log = log_of(sqlite3_db_filename(raw(), "main"));
  *this = Database();
  if (in_log >= 0 && in_log == written_back) empty_log(log);
}

bool Database::log_left(const std::string& path) { return !log_is_empty(log_of(path)); }

Status Database::exec(const std::string& sql) {
  const int code = sqlite3_exec(raw_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return error_status(raw_.get(), code, "run \"" + sql + "\"");
  return {};
}

Status Database::run(std::string_view sql, Statement* compiled) {
  if (!*compiled) {
    BERTH_ASSIGN_OR_RETURN(*compiled, prepare(sql));
  }
  return compiled->run();
}

Result<Statement> Database::prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(raw_.get(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK)
    return error_status(raw_.get(), code, "prepare \"" + std::string(sql) + "\"");
  return Statement(statement);
}

Result<int64_t> Database::user_version() {
  BERTH_ASSIGN_OR_RETURN(Statement statement, prepare("PRAGMA user_version"));
  BERTH_ASSIGN_OR_RETURN(const bool row, statement.step());
  return row ? statement.integer(0) : 0;
}

Status Database::set_user_version(int64_t version) {
  return exec("PRAGMA user_version=" + std::to_string(version));
}

Result<Transaction> Transaction::begin(Database& db, std::string_view sql, Statement* begins) {
  BERTH_RETURN_IF_ERROR(db.run(sql, begins));
  return Transaction(&db);
}

Transaction::~Transaction() {
  // SQLite itself has rolled back after some errors; then there is nothing left to undo.
  if (db_ != nullptr && sqlite3_get_autocommit(db_->raw()) == 0) {
    (void)db_->run("ROLLBACK", &db_->rollback_);
  }
}

Status Transaction::commit(Room room) {
  BERTH_RETURN_IF_ERROR(db_->claim_room(room));
  Status status = db_->run("COMMIT", &db_->commit_);
  if (!status.ok()) return status;  // the destructor rolls back
  db_ = nullptr;
  return {};
}

}  // namespace berth::sqlite
