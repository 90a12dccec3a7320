// When the next garbage collection is due. Arithmetic only: time comes from the caller.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

namespace berth::gc {

using Time = std::chrono::steady_clock::time_point;
using std::chrono::nanoseconds;

/// containerd's configuration keys.
struct ScheduleOptions {
  double pause_threshold =
      0.02;  // share of real time that collections may take; at most 0.5, 0: no spacing by it
  int64_t deletion_threshold =
      0;  // deletions that cause a collection; 0: the first one, when none is scheduled
  int64_t mutation_threshold =
      100;  // changes that make the next scheduled collection happen; 0: they alone never do
  nanoseconds schedule_delay{0};  // from a request or a threshold to the collection
  nanoseconds startup_delay =
      std::chrono::milliseconds(100);  // to the first collection; 0: none by itself

  /// The same with values outside their ranges moved into them.
  ScheduleOptions clamped() const;
};

/// containerd's rules: collections are spaced so that on average they take at most the configured
/// share of time; one that would find nothing to do is put off. One thread at a time.
class Schedule {
 public:
  Schedule(const ScheduleOptions& options, Time now);

  /// The metadata store has counted `mutations` changes since it started; dirty: one of them left
  /// something unreferenced.
  void mutated(uint64_t mutations, bool dirty, Time now);
  /// Somebody wants a collection.
  void requested(Time now);
  /// When to call take_due() again; nothing: only after mutated() or requested().
  std::optional<Time> next() const { return next_; }
  /// True when a collection is to begin now. Then succeeded() or failed() follows.
  bool take_due(Time now);
  void succeeded(nanoseconds took, Time now);
  void failed(Time now);

  /// Changes that no successful collection has seen from its beginning.
  uint64_t pending_mutations() const { return mutations_ - collected_mutations_; }

 private:
  void consider(Time now);
  bool worthwhile() const;

  const ScheduleOptions options_;
  std::optional<Time> next_;
  std::optional<Time> last_;  // end of the last collection
  nanoseconds interval_ = std::chrono::seconds(1);
  nanoseconds time_sum_{0};
  int64_t collections_ = 0;
  nanoseconds retry_delay_{0};  // of the last failure, 0 after a success

  bool requested_ = false;
  int64_t deletions_ = 0;
  uint64_t mutations_ = 0;
  uint64_t collected_mutations_ = 0;
  // As they were when the collection under way began; what came later is for the next one.
  int64_t begun_deletions_ = 0;
  uint64_t begun_mutations_ = 0;
};

}  // namespace berth::gc
