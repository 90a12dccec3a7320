#pragma once

#include <string>

#include "proto/@ident@/v1/@ident@.berth.h"

namespace @ident@_plugin {

namespace v1 = example::@ident@::v1;

/// The methods of the service. Calls come from any thread, several at once; each may block.
class @Class@ : public v1::@Class@Service {
 public:
  explicit @Class@(std::string greeting) : greeting_(std::move(greeting)) {}

  berth::Status Greet(berth::Context& context, const v1::GreetRequest& request,
                      v1::GreetResponse* response) override;

 private:
  const std::string greeting_;
};

}  // namespace @ident@_plugin
