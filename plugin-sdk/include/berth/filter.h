// The filters that containerd's clients send in List, Walk and Subscribe requests.
//
//   filter    := selector ("," selector)*                 all selectors must hold
//   selector  := fieldpath [operator value]               without an operator: the field is present
//   fieldpath := field ("." field)*
//   field     := [A-Za-z0-9_]+ | "quoted"
//   operator  := "==" | "!=" | "~="                       the last one: RE2 regular expression,
//   found anywhere value     := anything up to a space or a comma | "quoted" | (after ~=) |quoted|
//   | /quoted/
//
// Quoted parts are Go string literals. A list of filters matches what one of them matches; an empty
// list, and an empty filter, match everything. Values: parsed once, then usable from any thread.
#pragma once

#include <berth/status.h>

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace berth {

/// Tells the value of a field of the object under test, or nothing when the object has no such
/// field. The path has at least one part; `labels."a b".c` is {"labels", "a b", "c"}. What is
/// counted as present is for the service to say: containerd counts empty names and ids as absent.
using FieldLookup = std::function<std::optional<std::string>(std::span<const std::string> path)>;

/// The label that the rest of a field path names: the parts joined with dots, since a key's own
/// dots may be unquoted. For `labels.foo.bar` called with {"foo", "bar"} that is "foo.bar".
std::string joined_field_path(std::span<const std::string> parts);

/// One filter.
class Filter {
 public:
  /// INVALID_ARGUMENT for what the grammar does not know and for a broken regular expression, with
  /// the position (bytes from 0) and the text around it.
  static Result<Filter> parse(std::string_view text);

  /// != holds also for an absent field, as if it were empty, and ~= is tried against the empty
  /// string then.
  bool matches(const FieldLookup& field) const;

 private:
  struct Selector;
  class Parser;
  std::shared_ptr<const std::vector<Selector>> selectors_;  // immutable, so copies share it
};

/// The `filters` field of a request.
class FilterSet {
 public:
  /// Matches everything.
  FilterSet() = default;

  /// From any range of strings, such as a repeated field. The first error, with the filter's index.
  template <typename Range>
  static Result<FilterSet> parse(const Range& texts) {
    FilterSet set;
    for (const auto& text : texts) BERTH_RETURN_IF_ERROR(set.add(text));
    return set;
  }

  bool matches(const FieldLookup& field) const;
  /// True when there is nothing to test: every object matches.
  bool matches_all() const { return filters_.empty(); }

 private:
  Status add(std::string_view text);
  std::vector<Filter> filters_;
};

}  // namespace berth
