// The words of a filter.
#pragma once

#include <berth/status.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace berth::filter {

enum class Token { kEnd, kQuoted, kValue, kField, kSeparator, kOperator, kIllegal };

struct Word {
  Token token = Token::kEnd;
  size_t position = 0;    // in bytes from the start of the filter
  std::string_view text;  // as written, with quotes
};

/// Cuts a filter into words; what may stand where is the parser's concern. Whether text is a field
/// or a value depends on what came before: after an operator it is a value, until the next
/// separator.
class Scanner {
 public:
  explicit Scanner(std::string_view input) : input_(input) {}

  /// The next word, spaces before it skipped.
  Word next_word();
  /// The character that comes next, spaces included; kEnd at the end, kBad for bytes that are not
  /// UTF-8.
  int32_t peek() const;
  size_t position() const { return position_; }
  /// Why the last word was kIllegal.
  const std::string& error() const { return error_; }

  static constexpr int32_t kEnd = -1;
  static constexpr int32_t kBad = -2;

 private:
  int32_t next();
  template <typename Predicate>
  void skip_while(Predicate predicate);
  bool scan_quoted(int32_t quote);

  std::string_view input_;
  size_t position_ = 0;
  bool value_expected_ = false;
  std::string error_;
};

/// The meaning of a quoted word, quotes included: a Go string literal in ", | or /. False when it
/// is none.
bool unquote(std::string_view quoted, std::string* out);

}  // namespace berth::filter
