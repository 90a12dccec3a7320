#include <berth/filter.h>
#include <re2/re2.h>

#include "scanner.h"

namespace berth {
namespace {

using filter::Scanner;
using filter::Token;
using filter::unquote;
using filter::Word;

enum class Operator { kPresent, kEqual, kNotEqual, kMatches };

// "parse filter `name >|?|< =x`: …": the character at fault is marked as containerd's clients are
// used to see it.
Status parse_error(std::string_view text, size_t position, const std::string& why) {
  std::string where(text);
  if (position < text.size()) {
    size_t size = 1;
    while (position + size < text.size() && (text[position + size] & 0xC0) == 0x80) ++size;
    where = std::string(text.substr(0, position)) + " >|" +
            std::string(text.substr(position, size)) + "|< " +
            std::string(text.substr(position + size));
  }
  return invalid_argument("filters: parse error: [" + where + "]: " + why + " (at byte " +
                          std::to_string(position) + ")");
}

// RE2's bound on memory also bounds the time of a match; filters come from clients.
RE2::Options regexp_options() {
  RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(4 << 20);
  return options;
}

}  // namespace

struct Filter::Selector {
  std::vector<std::string> path;
  Operator op = Operator::kPresent;
  std::string value;
  std::unique_ptr<RE2> regexp;

  bool matches(const FieldLookup& field) const {
    const std::optional<std::string> found = field(path);
    static const std::string kEmpty;
    const std::string& actual = found ? *found : kEmpty;
    switch (op) {
      case Operator::kPresent:
        return found.has_value();
      case Operator::kEqual:
        return found && actual == value;
      case Operator::kNotEqual:
        return actual != value;
      case Operator::kMatches:
        return RE2::PartialMatch(actual, *regexp);
    }
    return false;
  }
};

class Filter::Parser {
 public:
  explicit Parser(std::string_view text) : text_(text), scanner_(text) {}

  Result<std::vector<Selector>> parse() {
    std::vector<Selector> selectors;
    while (true) {
      Selector selector;
      BERTH_RETURN_IF_ERROR(parse_selector(&selector));
      selectors.push_back(std::move(selector));
      const int32_t c = scanner_.peek();
      if (c == Scanner::kEnd) return selectors;
      if (c != ',') return parse_error(text_, scanner_.position(), "unexpected input");
      scanner_.next_word();
    }
  }

 private:
  Status parse_selector(Selector* out) {
    BERTH_RETURN_IF_ERROR(parse_path(&out->path));
    const int32_t c = scanner_.peek();
    if (c == ',' || c == Scanner::kEnd) return {};
    BERTH_RETURN_IF_ERROR(parse_operator(&out->op));
    return parse_value(out);
  }

  Status parse_path(std::vector<std::string>* path) {
    while (true) {
      const Word word = scanner_.next_word();
      std::string field(word.text);
      if (word.token == Token::kQuoted) {
        BERTH_RETURN_IF_ERROR(unquoted(word, /*regexp=*/false, &field));
      } else if (word.token != Token::kField) {
        return unexpected(word, "expected field or quoted");
      }
      path->push_back(std::move(field));
      if (scanner_.peek() != '.') return {};
      scanner_.next_word();
    }
  }

  Status parse_operator(Operator* op) {
    const Word word = scanner_.next_word();
    if (word.token != Token::kOperator)
      return unexpected(word, R"(expected an operator ("=="|"!="|"~="))");
    if (word.text == "==") {
      *op = Operator::kEqual;
    } else if (word.text == "!=") {
      *op = Operator::kNotEqual;
    } else if (word.text == "~=") {
      *op = Operator::kMatches;
    } else {
      return parse_error(text_, word.position,
                         "unsupported operator \"" + std::string(word.text) + "\"");
    }
    return {};
  }

  Status parse_value(Selector* out) {
    const Word word = scanner_.next_word();
    const bool regexp = out->op == Operator::kMatches;
    if (word.token == Token::kQuoted) {
      BERTH_RETURN_IF_ERROR(unquoted(word, regexp, &out->value));
    } else if (word.token == Token::kValue) {
      out->value = word.text;
    } else {
      return unexpected(word, "expected value or quoted");
    }
    if (!regexp) return {};
    out->regexp = std::make_unique<RE2>(out->value, regexp_options());
    if (out->regexp->ok()) return {};
    // containerd matches nothing then, which its users take for an empty list.
    return parse_error(text_, word.position, "regular expression: " + out->regexp->error());
  }

  Status unquoted(const Word& word, bool regexp, std::string* out) {
    if (!regexp && word.text.front() != '"') {
      return parse_error(text_, word.position, "invalid quote encountered");
    }
    if (!unquote(word.text, out)) {
      return parse_error(text_, word.position,
                         "unquoting failed: " + std::string(word.text) + " has invalid syntax");
    }
    return {};
  }

  Status unexpected(const Word& word, const std::string& expected) {
    const bool illegal = word.token == Token::kIllegal;
    return parse_error(text_, word.position, illegal ? scanner_.error() : expected);
  }

  std::string_view text_;
  Scanner scanner_;
};

std::string joined_field_path(std::span<const std::string> parts) {
  std::string joined;
  for (const std::string& part : parts) {
    if (&part != parts.data()) joined += '.';
    joined += part;
  }
  return joined;
}

Result<Filter> Filter::parse(std::string_view text) {
  Filter filter;
  if (text.empty()) return filter;
  BERTH_ASSIGN_OR_RETURN(auto selectors, Parser(text).parse());
  filter.selectors_ = std::make_shared<const std::vector<Selector>>(std::move(selectors));
  return filter;
}

bool Filter::matches(const FieldLookup& field) const {
  if (!selectors_) return true;
  for (const Selector& selector : *selectors_) {
    if (!selector.matches(field)) return false;
  }
  return true;
}

Status FilterSet::add(std::string_view text) {
  Result<Filter> filter = Filter::parse(text);
  if (!filter.ok())
    return filter.status().with_context("filter " + std::to_string(filters_.size()));
  filters_.push_back(std::move(*filter));
  return {};
}

bool FilterSet::matches(const FieldLookup& field) const {
  if (filters_.empty()) return true;
  for (const Filter& filter : filters_) {
    if (filter.matches(field)) return true;
  }
  return false;
}

}  // namespace berth
