#include "hash_lanes.h"

#include <system_error>

namespace berth::content {

HashLanes::HashLanes(unsigned count) {
  for (unsigned i = 0; i < count; ++i) {
    auto lane = std::make_unique<Lane>();
    try {
      lane->thread = std::thread([raw = lane.get()] { run(*raw); });
    } catch (const std::system_error&) {
      return;  // fewer lanes, or none: writers hash by themselves
    }
    idle_.push_back(lane.get());
    lanes_.push_back(std::move(lane));
  }
}

HashLanes::~HashLanes() {
  for (const auto& lane : lanes_) {
    {
      const std::lock_guard lock(lane->mutex);
      lane->stopping = true;
    }
    lane->changed.notify_all();
    lane->thread.join();
  }
}

void HashLanes::run(Lane& lane) {
  std::unique_lock lock(lane.mutex);
  while (true) {
    lane.changed.wait(lock, [&] { return lane.stopping || lane.digester != nullptr; });
    if (lane.digester == nullptr) return;
    Digester* const digester = lane.digester;
    const std::string_view bytes = lane.bytes;
    lock.unlock();
    digester->update(bytes);
    lock.lock();
    lane.digester = nullptr;
    lane.changed.notify_all();
  }
}

HashLanes::Piece::Piece(HashLanes& lanes, Digester& digester, std::string_view bytes)
    : lanes_(lanes), digester_(digester), bytes_(bytes) {
  if (bytes.size() < kWorthwhile) return;
  {
    const std::lock_guard lock(lanes_.mutex_);
    if (lanes_.idle_.empty()) return;
    lane_ = lanes_.idle_.back();
    lanes_.idle_.pop_back();
  }
  {
    const std::lock_guard lock(lane_->mutex);
    lane_->digester = &digester;
    lane_->bytes = bytes;
  }
  lane_->changed.notify_all();
}

void HashLanes::Piece::finish() {
  if (std::exchange(finished_, true)) return;
  if (lane_ == nullptr) return digester_.update(bytes_);
  {
    std::unique_lock lock(lane_->mutex);
    lane_->changed.wait(lock, [&] { return lane_->digester == nullptr; });
  }
  const std::lock_guard lock(lanes_.mutex_);
  lanes_.idle_.push_back(lane_);
}

}  // namespace berth::content
