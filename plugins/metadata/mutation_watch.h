// Tells callers of WatchMutations that something has changed.
#pragma once

#include <berth/server.h>

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "store.h"

namespace berth::metadata {

/// Any thread. Calls are kept, not served by a thread each; one thread sends, so that the writer of
/// the store never runs a receiver's code.
class MutationWatch {
 public:
  ~MutationWatch() { stop(); }

  /// Notes a commit. Called on the store's writer thread; never blocks.
  void changed(const Changes& changes);
  /// Takes a WatchMutations call: sends the present counter, then one event per burst of changes:
  /// the first change after a pause is told at once, later ones some 20 ms after it, together.
  void add(ServerCall call);
  void start();
  /// Ends all calls.
  void stop();

 private:
  struct Watcher {
    ServerCall call;
    bool told = false;       // has had an event
    uint64_t mutations = 0;  // as told
    bool dirty = false;      // since the last event
  };
  void loop();

  std::mutex mutex_;
  std::condition_variable wake_;
  Changes now_;                       // guarded by mutex_; dirty: since the start
  std::vector<Watcher> watchers_;     // guarded by mutex_, empty while loop() sends
  std::vector<Watcher> arrivals_;     // guarded by mutex_
  bool dirty_while_sending_ = false;  // guarded by mutex_
  bool cancelled_ = false;            // guarded by mutex_; a call, since loop() has looked
  bool pausing_ = false;              // guarded by mutex_; loop() lets changes gather
  bool stopping_ = false;             // guarded by mutex_
  std::thread thread_;
};

}  // namespace berth::metadata
