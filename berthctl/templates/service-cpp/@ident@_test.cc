// The class alone, without a daemon. That the plugin as a whole behaves is tested by
// `berthctl plugin validate` (`ctest -R plugin-`).
#include "@ident@.h"

#include <cstdio>

namespace {

int failures = 0;

void expect(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "FAILED: %s\n", what);
  ++failures;
}

}  // namespace

int main() {
  @ident@_plugin::@Class@ service("good day");
  berth::Context context;
  example::@ident@::v1::GreetRequest request;
  example::@ident@::v1::GreetResponse response;
  expect(service.Greet(context, request, &response).code() == berth::Code::kInvalidArgument,
         "nobody is not greeted");
  request.set_name("world");
  expect(service.Greet(context, request, &response).ok(), "somebody is");
  expect(response.text() == "good day, world", "with the greeting that was configured");
  berth::Context of_namespace = context.with_ns("k8s.io");
  expect(service.Greet(of_namespace, request, &response).ok() &&
             response.text() == "good day, world of k8s.io",
         "and with the caller's namespace");
  return failures == 0 ? 0 : 1;
}
