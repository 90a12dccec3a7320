// Names in the stores behind that somebody is working on right now. A name is used by many or
// reserved by one. This is what keeps the collector from what is just being made: its calls to the
// stores run without any lock or transaction.
#pragma once

#include <berth/context.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <string>

namespace berth::metadata {

/// Any thread. Must outlive its holds.
class InFlight {
 public:
  class [[nodiscard]] Hold {
   public:
    Hold() = default;
    Hold(Hold&& other) noexcept
        : owner_(std::exchange(other.owner_, nullptr)), name_(std::move(other.name_)) {}
    Hold& operator=(Hold&& other) noexcept {
      if (this != &other) {
        release();
        owner_ = std::exchange(other.owner_, nullptr);
        name_ = std::move(other.name_);
      }
      return *this;
    }
    ~Hold() { release(); }

   private:
    friend class InFlight;
    Hold(InFlight* owner, std::string name) : owner_(owner), name_(std::move(name)) {}
    void release();
    InFlight* owner_ = nullptr;
    std::string name_;
  };

  /// Waits while the name is reserved; CANCELLED or DEADLINE_EXCEEDED when the caller's call ends
  /// first.
  Result<Hold> use(const Context& context, const std::string& name);
  /// Waits while the name is used or reserved.
  Result<Hold> reserve(const Context& context, const std::string& name);
  /// Nothing while it is used or reserved.
  std::optional<Hold> try_reserve(const std::string& name);

 private:
  template <typename Free>
  Status wait(std::unique_lock<std::mutex>& lock, const Context& context, const std::string& name,
              const Free& free);

  static constexpr int kReserved = -1;
  std::mutex mutex_;
  std::condition_variable released_;
  std::map<std::string, int, std::less<>> holds_;  // guarded by mutex_; users, or kReserved
};

/// How things are called here.
inline std::string blob_name(const std::string& digest) { return "blob " + digest; }
inline std::string backend_snapshot_name(const std::string& snapshotter,
                                         const std::string& backend) {
  return "snapshot " + snapshotter + " " + backend;
}
inline std::string snapshot_key_name(const std::string& ns, const std::string& snapshotter,
                                     const std::string& key) {
  return "key " + ns + " " + snapshotter + " " + key;
}

}  // namespace berth::metadata
