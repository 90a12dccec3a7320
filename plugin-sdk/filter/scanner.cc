#include "scanner.h"

#include <tuple>

namespace berth::filter {
namespace {

constexpr int32_t kReplacement = 0xFFFD;

struct Decoded {
  int32_t code = Scanner::kEnd;
  size_t size = 0;
};

// One code point of UTF-8, with the strictness of RFC 3629: no surrogates, no overlong forms.
Decoded decode(std::string_view text, size_t at) {
  if (at >= text.size()) return {};
  const auto byte = [&](size_t i) -> uint32_t { return static_cast<unsigned char>(text[i]); };
  const uint32_t first = byte(at);
  if (first < 0x80) return {static_cast<int32_t>(first), 1};
  size_t length = 0;
  uint32_t code = 0;
  uint32_t least = 0;
  if (first >= 0xC2 && first < 0xE0) {
    std::tie(length, code, least) = std::tuple(2, first & 0x1F, 0x80);
  } else if (first >= 0xE0 && first < 0xF0) {
    std::tie(length, code, least) = std::tuple(3, first & 0x0F, 0x800);
  } else if (first >= 0xF0 && first < 0xF5) {
    std::tie(length, code, least) = std::tuple(4, first & 0x07, 0x10000);
  } else {
    return {Scanner::kBad, 1};
  }
  if (text.size() - at < length) return {Scanner::kBad, 1};
  for (size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xC0) != 0x80) return {Scanner::kBad, 1};
    code = code << 6 | (byte(at + i) & 0x3F);
  }
  const bool surrogate = code >= 0xD800 && code < 0xE000;
  if (code < least || code > 0x10FFFF || surrogate) return {Scanner::kBad, 1};
  return {static_cast<int32_t>(code), length};
}

bool is_field(int32_t c) {
  return c == '_' || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}
bool is_operator(int32_t c) { return c == '=' || c == '!' || c == '~'; }
bool is_quote(int32_t c) { return c == '"' || c == '|' || c == '/'; }
bool is_separator(int32_t c) { return c == ',' || c == '.'; }

// Unicode's White_Space.
bool is_space(int32_t c) {
  if (c == ' ' || (c >= '\t' && c <= '\r')) return true;
  if (c < 0x80) return false;
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

// What a value may contain without quotes. containerd asks for graphic characters; beyond ASCII we
// take all that are neither spaces nor controls, which needs no table of categories.
bool is_value(int32_t c) {
  const bool control = c < 0x20 || (c >= 0x7F && c < 0xA0);
  return c != ',' && !control && !is_space(c);
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

void append_utf8(uint32_t code, std::string* out) {
  if (code >= 0xD800 && code < 0xE000)
    code = static_cast<uint32_t>(kReplacement);  // as Go encodes them
  const auto put = [&](uint32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6);
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3F));
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

// Digits of an escape sequence at the front of `rest`. False when there are fewer than `count`.
bool take_number(std::string_view* rest, size_t count, int base, uint32_t* out) {
  if (rest->size() < count) return false;
  uint32_t number = 0;
  for (size_t i = 0; i < count; ++i) {
    const int digit = hex_digit((*rest)[i]);
    if (digit < 0 || digit >= base) return false;
    number = number * static_cast<uint32_t>(base) + static_cast<uint32_t>(digit);
  }
  rest->remove_prefix(count);
  *out = number;
  return true;
}

// `rest` begins after a backslash.
bool take_escape(std::string_view* rest, char quote, std::string* out) {
  if (rest->empty()) return false;
  const char kind = rest->front();
  uint32_t number = 0;
  if (kind >= '0' && kind <= '7') {
    if (!take_number(rest, 3, 8, &number) || number > 255) return false;
    out->push_back(static_cast<char>(number));
    return true;
  }
  rest->remove_prefix(1);
  switch (kind) {
    case 'a':
      out->push_back('\a');
      return true;
    case 'b':
      out->push_back('\b');
      return true;
    case 'f':
      out->push_back('\f');
      return true;
    case 'n':
      out->push_back('\n');
      return true;
    case 'r':
      out->push_back('\r');
      return true;
    case 't':
      out->push_back('\t');
      return true;
    case 'v':
      out->push_back('\v');
      return true;
    case '\\':
      out->push_back('\\');
      return true;
    case 'x':
      if (!take_number(rest, 2, 16, &number)) return false;
      out->push_back(static_cast<char>(number));  // one byte, whether or not that is UTF-8
      return true;
    case 'u':
    case 'U':
      if (!take_number(rest, kind == 'u' ? 4 : 8, 16, &number) || number > 0x10FFFF) return false;
      append_utf8(number, out);
      return true;
    default:
      if (kind != quote) return false;
      out->push_back(kind);
      return true;
  }
}

}  // namespace

int32_t Scanner::peek() const {
  const int32_t code = decode(input_, position_).code;
  return code == kReplacement || code == 0 ? kBad : code;
}

int32_t Scanner::next() {
  const Decoded decoded = decode(input_, position_);
  position_ += decoded.size;
  if (decoded.code == kBad || decoded.code == kReplacement) {
    error_ = "not UTF-8";
    return kBad;
  }
  if (decoded.code == 0) {
    error_ = "unexpected NUL";
    return kBad;
  }
  return decoded.code;
}

template <typename Predicate>
void Scanner::skip_while(Predicate predicate) {
  while (true) {
    const int32_t c = peek();
    if (c < 0 || !predicate(c)) return;
    next();
  }
}

Word Scanner::next_word() {
  skip_while(is_space);
  const size_t begin = position_;
  const int32_t c = next();
  Token token = Token::kIllegal;
  if (c == kEnd) {
    token = Token::kEnd;
  } else if (c == kBad) {
    token = Token::kIllegal;
  } else if (is_quote(c)) {
    if (scan_quoted(c)) token = Token::kQuoted;
    value_expected_ = false;
  } else if (is_separator(c)) {
    token = Token::kSeparator;
    value_expected_ = false;
  } else if (is_operator(c)) {
    skip_while(is_operator);
    token = Token::kOperator;
    value_expected_ = true;
  } else if (value_expected_) {
    skip_while(is_value);
    token = Token::kValue;
    value_expected_ = false;
  } else if (is_field(c)) {
    skip_while(is_field);
    token = Token::kField;
  } else {
    error_ = "expected field or quoted";
  }
  return {token, begin, input_.substr(begin, position_ - begin)};
}

bool Scanner::scan_quoted(int32_t quote) {
  while (true) {
    const int32_t c = next();
    if (c == quote) return true;
    if (c < 0 || c == '\n') {
      if (c != kBad) error_ = "quoted literal not terminated";
      return false;
    }
    // What follows a backslash is judged by unquote(); here it only must not end the literal.
    if (c == '\\' && next() < 0) {
      error_ = "quoted literal not terminated";
      return false;
    }
  }
}

bool unquote(std::string_view quoted, std::string* out) {
  out->clear();
  if (quoted.size() < 2 || quoted.front() != quoted.back()) return false;
  const char quote = quoted.front();
  std::string_view rest = quoted.substr(1, quoted.size() - 2);
  while (!rest.empty()) {
    const char c = rest.front();
    if (c == quote || c == '\n') return false;
    rest.remove_prefix(1);
    if (c != '\\') {
      out->push_back(c);
    } else if (!take_escape(&rest, quote, out)) {
      return false;
    }
  }
  return true;
}

}  // namespace berth::filter
