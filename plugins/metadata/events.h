// Events about what this plugin has done, for the exchange.
#pragma once

#include <berth/context.h>
#include <google/protobuf/message.h>

#include <functional>
#include <string_view>

namespace berth::metadata {

/// Publishes an event in the namespace of the context. Called after the transaction; failures are
/// the publisher's to log, since what has happened has happened.
using Publish = std::function<void(const Context& context, std::string_view topic,
                                   const google::protobuf::Message& event)>;

}  // namespace berth::metadata
