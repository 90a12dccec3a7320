// The fields of an event that filters can name.
#pragma once

#include <google/protobuf/message.h>

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "containerd/types/event.pb.h"

namespace berth::events {

/// Looks fields of one envelope up for filters: `topic`, `namespace`, and `event.…`, the fields of
/// the event itself where its type is known. The event is decoded at most once. One thread at a
/// time; borrows the envelope.
///
/// Strings and enums count as present unless empty, booleans always, messages as far as the rest of
/// the path leads to something. Numbers, times, bytes and lists are absent, as in containerd. The
/// rest of the path of a map is one key.
class EnvelopeFields {
 public:
  explicit EnvelopeFields(const containerd::types::Envelope& envelope) : envelope_(envelope) {}

  std::optional<std::string> find(std::span<const std::string> path);

 private:
  const containerd::types::Envelope& envelope_;
  bool decoded_ = false;
  std::unique_ptr<google::protobuf::Message>
      event_;  // null while not decoded, and when the type is unknown
};

}  // namespace berth::events
