#include "@ident@.h"

namespace @ident@_plugin {

berth::Status @Class@::Greet(berth::Context& context, const v1::GreetRequest& request,
                             v1::GreetResponse* response) {
  // An error says what was attempted, why not, and what to do.
  if (request.name().empty()) return berth::invalid_argument("greet: name is empty: say whom");
  std::string text = greeting_ + ", " + request.name();
  if (!context.ns().empty()) text += " of " + std::string(context.ns());  // the caller's namespace
  response->set_text(std::move(text));
  return {};
}

}  // namespace @ident@_plugin
