// metadata.db: one writer at a time with group commit, many readers that wait for nobody.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "connection.h"

namespace berth::metadata {

/// What a mutation writes with. Only inside Store::write().
class Tx final : public Connection {
 public:
  using Connection::Connection;
  /// Something may be unreferenced now: a collection would find work.
  void mark_dirty() { dirty_ = true; }
  /// It removes, so it has to succeed on a full disk and may use the room that is kept for that.
  void mark_removal() { room_ = sqlite::Room::kUse; }

 private:
  friend class Store;
  bool dirty_ = false;
  sqlite::Room room_ = sqlite::Room::kLeave;
};

/// Changes since the store was opened.
struct Changes {
  uint64_t mutations = 0;
  bool dirty = false;  // since the last notice
};

/// Any thread. Mutations and reads must not call the store again nor another plugin: they run in a
/// transaction.
class Store {
 public:
  struct Options {
    /// A commit that returned survives power loss. Without it, a crash of the program only.
    bool survives_power_loss = true;
    /// Receives one line about something that an administrator should know.
    std::function<void(const std::string& line)> log = [](const std::string&) {};
  };
  enum class Durability {
    kFull,
    /// May be undone by a power loss (never by a crash of the program): for what can be made anew.
    kRelaxed,
  };
  using Mutation = std::function<Status(Tx&)>;
  using Read = std::function<Status(Connection&)>;

  /// Opens or makes the database. DATA_LOSS, naming the file, when it is damaged; a damaged
  /// database is never answered for with an empty one.
  static Result<std::unique_ptr<Store>> open(const std::string& path, Options options);
  ~Store();
  /// Starts the thread that writes the log back into the database. Once.
  void start();

  /// Runs `mutation` in a transaction, which mutations of other callers may share: a failed one is
  /// undone alone. OK means committed and durable. A commit that fails fails every mutation that
  /// was in it; on a full disk (RESOURCE_EXHAUSTED) those alone that find no room. `mutation` may
  /// run more than once: what it leaves in its caller's variables is what it did last. UNAVAILABLE
  /// once the store is closed. Waits for the disk.
  Status write(const Mutation& mutation, Durability durability = Durability::kFull);

  /// Runs `read` over one state of the database, with all that was acknowledged before.
  Status read(const Read& read);

  /// A number that was never given before, for names in the stores behind.
  Result<int64_t> next_number();

  /// Called on a writing thread, one at a time, after every commit that changed something; must not
  /// block. To be set before the first write.
  void on_commit(std::function<void(const Changes&)> observer) { observer_ = std::move(observer); }

  /// Commits what waits and closes the database cleanly. Later calls are refused.
  void close();

 private:
  struct Job;
  explicit Store(std::string path, Options options);

  Result<sqlite::Database> open_connection(bool read_only) const;
  void commit(const std::vector<Job*>& batch);
  Status attempt(const std::vector<Job*>& batch);
  Status run_jobs(const std::vector<Job*>& batch, bool* changed, sqlite::Room* room);
  Status reuse_log();
  Status set_durability(bool full);
  void checkpoint(sqlite::Database& db);
  void bound_log(bool finish);
  void checkpoint_loop();
  Result<std::unique_ptr<Connection>> take_reader();
  void give_back(std::unique_ptr<Connection> reader);

  const std::string path_;
  const Options options_;
  std::function<void(const Changes&)> observer_;

  // Used by the leader alone:
  Tx tx_;
  bool full_ = true;  // durability of tx_ now
  Changes changes_;
  int wal_pages_ = 0;
  int bound_at_ = 0;  // pages in the log when the leader writes it back unasked

  std::mutex mutex_;
  std::vector<Job*> queue_;  // guarded by mutex_
  // A caller is committing a batch; guarded by mutex_. It hands the lead to one who waits.
  bool led_ = false;
  std::condition_variable idle_;  // nobody leads
  bool closed_ = false;           // guarded by mutex_
  int log_pages_ = 0;             // guarded by mutex_; pages in the log
  int write_back_at_;             // guarded by mutex_; pages at which the checkpointer goes to work
  bool finish_log_ = false;  // guarded by mutex_; what is left to be written back is the leader's
  std::condition_variable log_grown_;
  std::vector<std::unique_ptr<Connection>> idle_readers_;  // guarded by mutex_

  std::mutex checkpoint_mutex_;  // held while the log is written back; no other is taken then

  std::mutex number_mutex_;
  int64_t next_number_ = 0;   // guarded by number_mutex_
  int64_t number_limit_ = 0;  // guarded by number_mutex_
  Connection checkpointer_;   // used by its thread alone
  std::thread checkpoint_thread_;
};

}  // namespace berth::metadata
