// What the cases have in common: a plugin that runs, and what must hold of every call.
#pragma once

#include <gtest/gtest.h>

#include "validate/under_test.h"

namespace berth::ctl::validate {

/// Loads the plugin and, by start(), runs it. Where its probe skips, so does the case.
class PluginCase : public ::testing::Test {
 protected:
  void SetUp() override {
    auto loaded = PluginUnderTest::load();
    ASSERT_TRUE(loaded.ok()) << loaded.status().message();
    plugin_.emplace(std::move(*loaded));
    random_.seed(subject().seed);
  }

  /// False when the case is over: skipped, or failed.
  bool start(const Mischief& mischief = {}, const std::string& directory = {}) {
    const Status started = plugin_->start(mischief, directory);
    if (started.ok()) return true;
    if (plugin_->was_skipped()) {
      skip_ = "the plugin skips this machine: " + started.message();
    } else {
      ADD_FAILURE() << "it does not start: " << started.to_string() << hint();
    }
    return false;
  }

  /// What may be missing, when a plugin with requirements that bind nobody does not start.
  std::string hint() const {
    std::string text;
    for (const std::string& name : plugin_->unbound()) {
      text +=
          "; if it needs somebody as \"" + name + "\", name a stand-in with --peer " + name + "=ID";
    }
    return text;
  }

  const std::vector<std::unique_ptr<bus::Method>>& methods() const {
    return plugin_->bus_target().methods();
  }

  /// What holds of any call, whatever was asked.
  static void expect_ended(const bus::Method& method, const Outcome& outcome) {
    const auto code = static_cast<int32_t>(outcome.status.code());
    EXPECT_TRUE(outcome.handler) << method.full_name()
                                 << ": the handler goes on 5 s after the call was cancelled";
    EXPECT_TRUE(code >= 0 && code <= 16)
        << method.full_name() << " ended with " << code << ", which is no canonical code";
    EXPECT_TRUE(outcome.ended || method.server_stream() || !outcome.status.ok())
        << method.full_name() << " has no status";
    if (outcome.ended && code != 0) {
      EXPECT_FALSE(outcome.status.message().empty())
          << method.full_name() << " fails with " << code_name(outcome.status.code())
          << " and does not say why";
    }
    if (outcome.ended && code == 0 && !method.server_stream()) {
      EXPECT_EQ(outcome.responses, 1U) << method.full_name() << " ended OK";
    }
  }

  std::optional<PluginUnderTest> plugin_;
  std::mt19937_64 random_;
  std::string skip_;
};

/// Runs the plugin, or ends the case.
#define START_OR_RETURN(...)                   \
  if (!start(__VA_ARGS__)) {                   \
    if (!skip_.empty()) GTEST_SKIP() << skip_; \
    return;                                    \
  }

}  // namespace berth::ctl::validate
