// Dotted versions and ranges of them: "1.2", ">=0.1, <1".
#pragma once

#include <berth/status.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace berth::manifest {

/// Numbers separated by dots, at most four; missing ones count as zero.
class Version {
 public:
  static Result<Version> parse(std::string_view text);
  int compare(const Version& other) const;
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  std::vector<uint32_t> parts_;
};

/// All of the conditions must hold; none given, every version is in range.
class VersionRange {
 public:
  /// Conditions separated by commas, each one of >=, >, <=, <, = and a version.
  static Result<VersionRange> parse(std::string_view text);
  bool contains(const Version& version) const;
  const std::string& text() const { return text_; }

 private:
  struct Condition {
    std::string op;
    Version version;
  };
  std::string text_;
  std::vector<Condition> conditions_;
};

}  // namespace berth::manifest
