// Threads that hash one piece of content while its writer writes the same piece to disk.
#pragma once

#include <berth/digest.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string_view>
#include <thread>
#include <vector>

namespace berth::content {

/// A fixed number of lanes. Whoever finds all of them taken hashes by itself: nobody waits for a
/// lane. Any thread.
class HashLanes {
  struct Lane;

 public:
  /// Pieces below this size are hashed faster than a thread is woken.
  static constexpr size_t kWorthwhile = 128 << 10;

  explicit HashLanes(unsigned count);
  HashLanes(const HashLanes&) = delete;
  HashLanes& operator=(const HashLanes&) = delete;
  /// Nobody may be using a lane.
  ~HashLanes();

  /// One piece being hashed; digester and bytes must outlive it. The destructor waits for the end.
  class Piece {
   public:
    Piece(HashLanes& lanes, Digester& digester, std::string_view bytes);
    Piece(const Piece&) = delete;
    Piece& operator=(const Piece&) = delete;
    ~Piece() { finish(); }
    /// After this the digester has seen the bytes.
    void finish();

   private:
    Lane* lane_ = nullptr;  // nullptr: hashed in finish()
    HashLanes& lanes_;
    Digester& digester_;
    std::string_view bytes_;
    bool finished_ = false;
  };

 private:
  struct Lane {
    std::mutex mutex;
    std::condition_variable changed;
    Digester* digester = nullptr;  // guarded by mutex; not null: work to do
    std::string_view bytes;        // guarded by mutex
    bool stopping = false;         // guarded by mutex
    std::thread thread;
  };
  static void run(Lane& lane);

  std::mutex mutex_;
  std::vector<Lane*> idle_;  // guarded by mutex_
  std::vector<std::unique_ptr<Lane>> lanes_;
};

}  // namespace berth::content
