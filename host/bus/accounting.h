// Counters per method: calls, errors, latency and bytes, cheap enough to be always on.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

namespace berth::bus {

/// Upper bounds of the latency buckets in nanoseconds: 4 µs · 4^i; the last bucket is open.
inline constexpr uint32_t kLatencyBuckets = 12;
constexpr int64_t latency_bound(uint32_t bucket) { return 4'000LL << (2 * bucket); }

struct MethodTotals {
  uint64_t calls = 0;
  uint64_t errors = 0;
  uint64_t nanoseconds = 0;
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
  std::array<uint64_t, kLatencyBuckets> latency{};
};

/// Sharded by thread: with one shared set of counters two threads slowed the bus by a factor of
/// three. Any thread.
class MethodStatistics {
 public:
  MethodStatistics() = default;
  ~MethodStatistics();
  MethodStatistics(const MethodStatistics&) = delete;
  MethodStatistics& operator=(const MethodStatistics&) = delete;

  void count(int64_t nanoseconds, bool error, uint64_t bytes_in, uint64_t bytes_out);
  MethodTotals totals() const;

 private:
  static constexpr uint32_t kShards = 8;
  struct alignas(64) Shard {
    std::atomic<uint64_t> calls{0}, errors{0}, nanoseconds{0}, bytes_in{0}, bytes_out{0};
    std::array<std::atomic<uint64_t>, kLatencyBuckets> latency{};
  };
  std::array<std::atomic<Shard*>, kShards>
      shards_{};  // made when first used: most methods are never called
};

}  // namespace berth::bus
