// Level "serves": every method answers whatever it is asked, once, with a code that says whose
// fault it is.
#include "validate/fixture.h"

namespace berth::ctl::validate {
namespace {

/// The caller's fault is never INTERNAL or UNKNOWN: those say that the plugin is broken.
void expect_no_fault_of_the_plugin(const bus::Method& method, const Outcome& outcome,
                                   const char* what) {
  if (!outcome.ended) return;
  EXPECT_TRUE(outcome.status.code() != Code::kInternal && outcome.status.code() != Code::kUnknown)
      << method.full_name() << " answers " << what << " with " << outcome.status.to_string();
}

class Serves : public PluginCase {
 protected:
  void ask_all(std::string_view request, const char* what) {
    for (uint32_t i = 0; i < methods().size(); ++i) {
      const Outcome outcome = plugin_->call(i, request);
      expect_ended(*methods()[i], outcome);
      expect_no_fault_of_the_plugin(*methods()[i], outcome, what);
    }
  }
};

TEST_F(Serves, EmptyRequests) {
  START_OR_RETURN();
  ask_all({}, "an empty request");
}

TEST_F(Serves, MalformedRequests) {
  START_OR_RETURN();
  ask_all(std::string("\x0a\xff\xff\xff\xff\x0f", 6), "a field longer than the request");
  ask_all(std::string(11, '\xff'), "a number that does not end");
  ask_all(std::string("\x0a\x02\xff\xfe", 4), "text that is not UTF-8");
}

TEST_F(Serves, FieldsThatItDoesNotKnow) {
  START_OR_RETURN();
  // Field 1000 of 5 bytes, as a newer client would send it.
  ask_all(std::string("\xc2\x3e\x05hello", 8), "a field that it does not know");
}

TEST_F(Serves, TheSameAgain) {
  START_OR_RETURN();
  for (uint32_t i = 0; i < methods().size(); ++i) {
    const Outcome first = plugin_->call(i, {});
    const Outcome second = plugin_->call(i, {});
    if (!first.ended || !second.ended || first.status.ok()) continue;
    EXPECT_EQ(first.status.code() == Code::kUnavailable, second.status.code() == Code::kUnavailable)
        << methods()[i]->full_name() << " answered " << first.status.to_string() << " and then "
        << second.status.to_string();
  }
}

}  // namespace
}  // namespace berth::ctl::validate
