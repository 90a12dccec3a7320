#include "store.h"

#include <utility>

#include "schema.h"

namespace berth::metadata {
namespace {

constexpr int kCheckpointPages = 1000;  // 4 MiB of log: time to write it back
constexpr int kMaxLogPages = 8000;      // 32 MiB: writers are faster than the disk
constexpr size_t kIdleReaders = 16;
constexpr int64_t kNumbersPerWrite = 10'000;
constexpr int64_t kLogRoom = 1 << 20;  // a batch of a collection's removals fits

Status damaged(const std::string& path, const std::string& why) {
  return data_loss("open metadata database " + path + ": it is damaged: " + why +
                   "; restore it from a backup, or move it and its -wal file away to start empty");
}

// As SQLite says it, and the same of what a mutation finds when it spills into the log.
bool no_room(const Status& status) { return status.code() == Code::kResourceExhausted; }

Status check(sqlite::Database& db, const std::string& path) {
  Result<sqlite::Statement> statement = db.prepare("PRAGMA quick_check(1)");
  if (!statement.ok()) return damaged(path, statement.status().message());
  const Result<bool> row = statement->step();
  if (!row.ok()) return damaged(path, row.status().message());
  if (!*row || statement->text(0) != "ok") return damaged(path, std::string(statement->text(0)));
  return {};
}

}  // namespace

struct Store::Job {
  const Mutation& mutation;
  const Durability durability;
  Status status;
  bool done = false;  // guarded by mutex_, as is lead
  bool lead = false;  // the waiting caller is to commit the next batch
  std::condition_variable wake;
};

Store::Store(std::string path, Options options)
    : path_(std::move(path)), options_(std::move(options)), write_back_at_(kCheckpointPages) {}

Result<std::unique_ptr<Store>> Store::open(const std::string& path, Options options) {
  std::unique_ptr<Store> store(new Store(path, std::move(options)));
  // A log with something in it was left by a process that did not close the database.
  const bool unclean = sqlite::Database::log_left(path);
  Result<sqlite::Database> db = store->open_connection(false);
  if (!db.ok()) {
    return db.status().code() == Code::kDataLoss ? damaged(path, db.status().message())
                                                 : db.status();
  }
  if (unclean) BERTH_RETURN_IF_ERROR(check(*db, path));
  Status migrated = migrate(*db, path, migrations());
  if (migrated.code() == Code::kDataLoss) return damaged(path, migrated.message());
  BERTH_RETURN_IF_ERROR(migrated);
  store->tx_ = Tx(std::move(*db));
  BERTH_ASSIGN_OR_RETURN(sqlite::Database checkpointer, store->open_connection(false));
  store->checkpointer_ = Connection(std::move(checkpointer));
  sqlite3_wal_hook(
      store->tx_.db().raw(),
      [](void* self, sqlite3*, const char*, int pages) {
        static_cast<Store*>(self)->wal_pages_ = pages;
        return SQLITE_OK;
      },
      store.get());
  return store;
}

void Store::start() {
  checkpoint_thread_ = std::thread([this] { checkpoint_loop(); });
}

Store::~Store() { close(); }

Result<sqlite::Database> Store::open_connection(bool read_only) const {
  sqlite::Database::Options options;
  options.read_only = read_only;
  options.log_room = kLogRoom;
  options.make = [this](sqlite::Database& fresh) { return migrate(fresh, path_, migrations()); };
  BERTH_ASSIGN_OR_RETURN(sqlite::Database db, sqlite::Database::open(path_, options));
  // Temporary tables (a collection's notes) never touch the disk.
  BERTH_RETURN_IF_ERROR(db.exec("PRAGMA temp_store=MEMORY; PRAGMA cache_size=-16000"));
  // Writing the log back is for a thread of its own, not for the one that commits.
  if (!read_only) BERTH_RETURN_IF_ERROR(db.exec("PRAGMA wal_autocheckpoint=0"));
  return db;
}

// Whoever comes while nobody leads commits what is queued, itself included; who comes meanwhile
// waits, and one of those leads the next batch. A lone writer thus never waits for another thread.
Status Store::write(const Mutation& mutation, Durability durability) {
  Job job{mutation, durability, {}, false, false, {}};
  std::vector<Job*> batch;
  bool finish = false;
  {
    std::unique_lock lock(mutex_);
    if (closed_) return unavailable("write to metadata database " + path_ + ": it is closed");
    queue_.push_back(&job);
    if (led_) job.wake.wait(lock, [&] { return job.done || job.lead; });
    if (job.done) return std::move(job.status);
    led_ = true;
    batch.swap(queue_);
    finish = std::exchange(finish_log_, false);
  }
  commit(batch);
  bound_log(finish);
  std::lock_guard lock(mutex_);
  for (Job* other : batch) {
    if (other == &job) continue;
    other->done = true;
    other->wake.notify_one();  // under the lock: the job goes with its caller's stack
  }
  if (queue_.empty()) {
    led_ = false;
    idle_.notify_all();
  } else {
    queue_.front()->lead = true;
    queue_.front()->wake.notify_one();
  }
  log_pages_ = wal_pages_;
  // What a reader held back last time waits for further growth, unless the log has begun anew.
  if (log_pages_ < kCheckpointPages) write_back_at_ = kCheckpointPages;
  if (log_pages_ >= write_back_at_) log_grown_.notify_one();
  return std::move(job.status);
}

void Store::commit(const std::vector<Job*>& batch) {
  Status status = attempt(batch);
  if (no_room(status) && reuse_log().ok()) status = attempt(batch);
  if (no_room(status) && batch.size() > 1) {
    // What removes must not fail with what adds, nor for the size of what it shares a commit with.
    for (Job* job : batch) commit({job});
    return;
  }
  if (status.ok()) return;
  status = status.with_context("commit to metadata database " + path_);
  options_.log(status.to_string());
  for (Job* job : batch) {
    if (job->status.ok()) job->status = status;
  }
}

// One transaction. A returned error is one of the whole and has undone it.
Status Store::attempt(const std::vector<Job*>& batch) {
  bool full = false;
  for (Job* job : batch) {
    full = full || job->durability == Durability::kFull;
    job->status = Status();
  }
  const Changes before = changes_;
  bool changed = false;
  sqlite::Room room = sqlite::Room::kUse;
  Status status = set_durability(full && options_.survives_power_loss);
  if (status.ok()) status = run(tx_, "BEGIN IMMEDIATE");
  if (status.ok()) status = run_jobs(batch, &changed, &room);
  if (status.ok() && changed) status = tx_.db().claim_room(room);
  if (status.ok()) status = changed ? run(tx_, "COMMIT") : run(tx_, "ROLLBACK");
  if (!status.ok()) {
    if (sqlite3_get_autocommit(tx_.db().raw()) == 0) (void)run(tx_, "ROLLBACK");
    changes_ = before;
    return status;
  }
  if (changed && observer_) {
    observer_(changes_);
    changes_.dirty = false;
  }
  return {};
}

// Leaves the outcome of each mutation in its job; a returned error is one of the whole transaction.
Status Store::run_jobs(const std::vector<Job*>& batch, bool* changed, sqlite::Room* room) {
  const bool alone = batch.size() == 1;  // then the transaction itself is what is undone
  Changes changes = changes_;
  for (Job* job : batch) {
    if (!alone) BERTH_RETURN_IF_ERROR(run(tx_, "SAVEPOINT mutation"));
    tx_.dirty_ = false;
    tx_.room_ = sqlite::Room::kLeave;
    try {
      job->status = job->mutation(tx_);
    } catch (const std::exception& error) {
      job->status = internal_error(std::string("mutation of metadata threw: ") + error.what());
    }
    // After some errors (full disk, I/O) SQLite has undone everything.
    if (sqlite3_get_autocommit(tx_.db().raw()) != 0) {
      return job->status.ok() ? internal_error("the transaction ended within a mutation")
                              : job->status;
    }
    if (job->status.ok()) {
      *changed = true;
      if (tx_.room_ == sqlite::Room::kLeave) *room = sqlite::Room::kLeave;
      ++changes.mutations;
      changes.dirty = changes.dirty || tx_.dirty_;
    } else if (!alone) {
      BERTH_RETURN_IF_ERROR(run(tx_, "ROLLBACK TO mutation"));
    }
    if (!alone) BERTH_RETURN_IF_ERROR(run(tx_, "RELEASE mutation"));
  }
  changes_ = changes;
  return {};
}

// As checkpoint(), and what reads an older state is waited for.
Status Store::reuse_log() {
  const std::lock_guard lock(checkpoint_mutex_);
  return tx_.db().reuse_log();
}

// SQLite allows this only outside of transactions.
Status Store::set_durability(bool full) {
  if (full == full_) return {};
  BERTH_RETURN_IF_ERROR(tx_.exec(full ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL"));
  full_ = full;
  return {};
}

// Waits for no reader and no writer, and they do not wait for it. Two at once would be of no use:
// SQLite refuses the second, and the leader, whose turn comes when the log is too long, must not be
// refused.
void Store::checkpoint(sqlite::Database& db) {
  const std::lock_guard lock(checkpoint_mutex_);
  const int code =
      sqlite3_wal_checkpoint_v2(db.raw(), nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
  if (code != SQLITE_OK && code != SQLITE_BUSY) {
    options_.log(sqlite::error_status(db.raw(), code, "write back the log").to_string());
  }
}

// A commit that overwrites blocks of the log costs one write; one that makes the log longer commits
// the file system's journal with it, three times as much. So the log begins anew as soon as it can:
// a thread writes most of it back, while others commit, and what those have added is then left to
// the leader, while nobody else can write.
void Store::bound_log(bool finish) {
  if (wal_pages_ < kCheckpointPages) bound_at_ = kMaxLogPages;
  if (wal_pages_ < (finish ? kCheckpointPages : bound_at_)) return;
  // Should a reader be in the way.
  if (wal_pages_ >= bound_at_) bound_at_ = wal_pages_ + kCheckpointPages;
  checkpoint(tx_.db());
}

void Store::checkpoint_loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    log_grown_.wait(lock, [&] { return closed_ || log_pages_ >= write_back_at_; });
    if (closed_) return;
    write_back_at_ = log_pages_ + kCheckpointPages;
    lock.unlock();
    checkpoint(checkpointer_.db());
    lock.lock();
    finish_log_ = true;
  }
}

Result<std::unique_ptr<Connection>> Store::take_reader() {
  {
    std::lock_guard lock(mutex_);
    if (closed_) return unavailable("read metadata database " + path_ + ": it is closed");
    if (!idle_readers_.empty()) {
      auto reader = std::move(idle_readers_.back());
      idle_readers_.pop_back();
      return reader;
    }
  }
  BERTH_ASSIGN_OR_RETURN(sqlite::Database db, open_connection(true));
  return std::make_unique<Connection>(std::move(db));
}

void Store::give_back(std::unique_ptr<Connection> reader) {
  std::lock_guard lock(mutex_);
  if (!closed_ && idle_readers_.size() < kIdleReaders) idle_readers_.push_back(std::move(reader));
}

Status Store::read(const Read& read) {
  BERTH_ASSIGN_OR_RETURN(auto reader, take_reader());
  BERTH_RETURN_IF_ERROR(run(*reader, "BEGIN"));
  Status status = read(*reader);
  const Status ended = run(*reader, "COMMIT");
  if (ended.ok()) give_back(std::move(reader));
  return status;
}

Result<int64_t> Store::next_number() {
  std::lock_guard lock(number_mutex_);
  if (next_number_ == number_limit_) {
    int64_t next = 0;
    BERTH_RETURN_IF_ERROR(write([&](Tx& tx) -> Status {
      Query query(tx, "UPDATE sequence SET next = next + ?1 RETURNING next", kNumbersPerWrite);
      BERTH_ASSIGN_OR_RETURN(const bool row, query.next());
      if (!row) return data_loss("the table sequence of " + path_ + " is empty");
      next = query.integer(0);
      return {};
    }));
    number_limit_ = next;
    next_number_ = next - kNumbersPerWrite;
  }
  return next_number_++;
}

void Store::close() {
  {
    std::unique_lock lock(mutex_);
    closed_ = true;
    idle_.wait(lock, [&] { return !led_; });
    idle_readers_.clear();
  }
  log_grown_.notify_one();
  if (checkpoint_thread_.joinable()) checkpoint_thread_.join();
  checkpointer_ = Connection();
  tx_.close();
}

}  // namespace berth::metadata
