// Services whose calls all go to one other plugin as they are.
#pragma once

#include <berth/server.h>

#include <string_view>
#include <utility>
#include <vector>

namespace berth::services {

/// A range over the names of all methods of a generated service, for kNoBlock. Usable during static
/// initialization.
template <typename S>
class AllMethods {
 public:
  auto begin() const { return names().begin(); }
  auto end() const { return names().end(); }

 private:
  static const std::vector<std::string_view>& names() {
    static const std::vector<std::string_view> all = [] {
      const berth_service& service = S::service();
      std::vector<std::string_view> out;
      for (uint32_t i = 0; i < service.method_count; ++i)
        out.push_back(view(service.methods[i].name));
      return out;
    }();
    return all;
  }
};

/// Serves S by handing every call, unread, to the plugin of `to`. Holds no thread while a call goes
/// on, however long (Tasks.Wait, Events.Subscribe). Any thread; never blocks.
template <typename S, typename C>
class Forwarding : public S {
 public:
  static constexpr AllMethods<S> kNoBlock{};

  explicit Forwarding(C to) : to_(std::move(to)) {}
  void handle(uint32_t method, ServerCall call) final {
    to_.forward(std::move(call), static_cast<typename C::Method>(method));
  }

 private:
  C to_;
};

}  // namespace berth::services
