// Built into the plugin: its messages are the other ones and not today's.
#include "containerd/types/mount.pb.h"

namespace {

template <typename Message>
concept OfToday = requires(Message mount) {
  mount.target();
};
template <typename Message>
concept HasMore = requires(Message mount) {
  mount.berth_test_more_size();
};

using containerd::types::Mount;
static_assert(HasMore<Mount> && !OfToday<Mount>);

}  // namespace
