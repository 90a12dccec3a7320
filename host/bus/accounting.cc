#include "bus/accounting.h"

namespace berth::bus {
namespace {

uint32_t thread_number() {
  static std::atomic<uint32_t> next{0};
  thread_local const uint32_t number = next.fetch_add(1, std::memory_order_relaxed);
  return number;
}

uint32_t bucket_of(int64_t nanoseconds) {
  uint32_t bucket = 0;
  while (bucket + 1 < kLatencyBuckets && nanoseconds > latency_bound(bucket)) ++bucket;
  return bucket;
}

}  // namespace

MethodStatistics::~MethodStatistics() {
  for (auto& shard : shards_) delete shard.load(std::memory_order_acquire);
}

void MethodStatistics::count(int64_t nanoseconds, bool error, uint64_t bytes_in,
                             uint64_t bytes_out) {
  std::atomic<Shard*>& slot = shards_[thread_number() % kShards];
  Shard* shard = slot.load(std::memory_order_acquire);
  if (shard == nullptr) {
    auto made = std::make_unique<Shard>();
    if (slot.compare_exchange_strong(shard, made.get(), std::memory_order_acq_rel)) {
      shard = made.release();
    }
  }
  constexpr auto kRelaxed = std::memory_order_relaxed;
  shard->calls.fetch_add(1, kRelaxed);
  if (error) shard->errors.fetch_add(1, kRelaxed);
  shard->nanoseconds.fetch_add(static_cast<uint64_t>(nanoseconds), kRelaxed);
  shard->bytes_in.fetch_add(bytes_in, kRelaxed);
  shard->bytes_out.fetch_add(bytes_out, kRelaxed);
  shard->latency[bucket_of(nanoseconds)].fetch_add(1, kRelaxed);
}

MethodTotals MethodStatistics::totals() const {
  MethodTotals sum;
  for (const auto& slot : shards_) {
    const Shard* shard = slot.load(std::memory_order_acquire);
    if (shard == nullptr) continue;
    sum.calls += shard->calls.load(std::memory_order_relaxed);
    sum.errors += shard->errors.load(std::memory_order_relaxed);
    sum.nanoseconds += shard->nanoseconds.load(std::memory_order_relaxed);
    sum.bytes_in += shard->bytes_in.load(std::memory_order_relaxed);
    sum.bytes_out += shard->bytes_out.load(std::memory_order_relaxed);
    for (uint32_t i = 0; i < kLatencyBuckets; ++i) {
      sum.latency[i] += shard->latency[i].load(std::memory_order_relaxed);
    }
  }
  return sum;
}

}  // namespace berth::bus
