#include "bus/headers.h"

#include <berth/message.h>

#include <algorithm>

namespace berth::bus {
namespace {
constexpr std::string_view kHopByHop = "berth-";
}

Headers::Headers(List list) : list_(std::move(list)) {
  raw_.reserve(list_.size());
  for (const auto& [key, value] : list_) {
    raw_.push_back({str(key), str(value), 0});
    if (key.starts_with(kHopByHop)) hop_by_hop_ = true;
  }
}

std::string_view Headers::find(std::string_view key) const {
  for (const auto& [name, value] : list_) {
    if (name == key) return value;
  }
  return {};
}

Headers::Shared Headers::none() {
  static const Shared empty = std::make_shared<const Headers>(List{});
  return empty;
}

Headers::Shared Headers::derive(const Shared& parent, const berth_header* overrides,
                                uint32_t count) {
  if (count == 0 && !parent->hop_by_hop_) return parent;
  List list;
  list.reserve(parent->list_.size() + count);
  const auto overridden = [&](std::string_view key) {
    return std::any_of(overrides, overrides + count,
                       [&](const berth_header& header) { return view(header.key) == key; });
  };
  for (const auto& [key, value] : parent->list_) {
    if (!key.starts_with(kHopByHop) && !overridden(key)) list.emplace_back(key, value);
  }
  for (uint32_t i = 0; i < count; ++i) {
    if (overrides[i].value.size != 0) {
      list.emplace_back(view(overrides[i].key), view(overrides[i].value));
    }
  }
  return std::make_shared<const Headers>(std::move(list));
}

}  // namespace berth::bus
