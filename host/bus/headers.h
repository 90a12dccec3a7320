// The headers of a call: an immutable list shared by a call and the calls made on its behalf.
#pragma once

#include <berth/abi.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace berth::bus {

class Headers {
 public:
  using List = std::vector<std::pair<std::string, std::string>>;
  using Shared = std::shared_ptr<const Headers>;

  explicit Headers(List list);
  Headers(const Headers&) = delete;
  Headers& operator=(const Headers&) = delete;

  /// Empty when absent. Keys are lower case.
  std::string_view find(std::string_view key) const;
  /// The list in the form of the ABI; lives as long as this object.
  const std::vector<berth_header>& raw() const { return raw_; }

  static Shared none();
  /// What a call made on behalf of one with `parent` carries: the parent's headers without the
  /// hop-by-hop ones (ABI rule 13), with `overrides` replacing those of the same key; an empty
  /// value removes one.
  static Shared derive(const Shared& parent, const berth_header* overrides, uint32_t count);

 private:
  List list_;
  std::vector<berth_header> raw_;
  bool hop_by_hop_ = false;
};

}  // namespace berth::bus
