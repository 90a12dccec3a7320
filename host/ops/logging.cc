#include "ops/logging.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>

namespace berth::ops {
namespace {

std::atomic<bool> as_json{false};

void append_json(std::string* out, std::string_view text) {
  out->push_back('"');
  for (const char c : text) {
    switch (c) {
      case '"':
        *out += "\\\"";
        break;
      case '\\':
        *out += "\\\\";
        break;
      case '\n':
        *out += "\\n";
        break;
      case '\r':
        *out += "\\r";
        break;
      case '\t':
        *out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          *out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
        } else {
          out->push_back(c);
        }
    }
  }
  out->push_back('"');
}

/// A value as logfmt has it: quoted where it would not be one word.
void append_text(std::string* out, std::string_view text) {
  if (!text.empty() && text.find_first_of(" \"=\n\t\\") == std::string_view::npos) {
    out->append(text);
  } else {
    append_json(out, text);
  }
}

/// Lines of spdlog's own calls (the host's) get the form of the others.
class LineFormatter final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& out) override {
    const std::string_view payload(message.payload.data(), message.payload.size());
    std::string line;
    // log() below hands over finished lines; they begin with a mark that no text has.
    if (payload.starts_with('\x01')) {
      line = payload.substr(1);
    } else {
      append_json(&line, payload);
    }
    out.append(line.data(), line.data() + line.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return spdlog::details::make_unique<LineFormatter>();
  }
};

constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::trace, spdlog::level::debug,
                                                 spdlog::level::info, spdlog::level::warn,
                                                 spdlog::level::err};

}  // namespace

Status configure_log(std::string_view level, std::string_view format) {
  static const std::map<std::string_view, spdlog::level::level_enum> levels = {
      {"trace", spdlog::level::trace},   {"debug", spdlog::level::debug},
      {"info", spdlog::level::info},     {"", spdlog::level::info},
      {"warn", spdlog::level::warn},     {"warning", spdlog::level::warn},
      {"error", spdlog::level::err},     {"fatal", spdlog::level::critical},
      {"panic", spdlog::level::critical}};
  const auto found = levels.find(level);
  if (found == levels.end()) {
    return invalid_argument("log level \"" + std::string(level) +
                            "\": use trace, debug, info, warn or error");
  }
  if (!format.empty() && format != "text" && format != "json") {
    return invalid_argument("log format \"" + std::string(format) + "\": use text or json");
  }
  as_json = format == "json";
  static const auto logger = spdlog::stderr_logger_mt("berth");
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<LineFormatter>('*').set_pattern(
      as_json ? R"({"time":"%Y-%m-%dT%H:%M:%S.%f%z","level":"%l","msg":%*})"
              : "time=\"%Y-%m-%dT%H:%M:%S.%f%z\" level=%l msg=%*");
  logger->set_formatter(std::move(formatter));
  logger->flush_on(spdlog::level::trace);
  logger->set_level(found->second);
  spdlog::set_default_logger(logger);
  spdlog::set_level(found->second);
  return {};
}

void log(uint32_t level, std::string_view text, const Fields& fields) {
  const auto spdlog_level = kLevels[level < 5 ? level : 4];
  if (!spdlog::should_log(spdlog_level)) return;
  std::string line = "\x01";
  append_json(&line, text);
  for (const auto& [key, value] : fields) {
    if (as_json) {
      line += ',';
      append_json(&line, key);
      line += ':';
      append_json(&line, value);
    } else {
      line += ' ';
      line.append(key);
      line += '=';
      append_text(&line, value);
    }
  }
  spdlog::log(spdlog_level, "{}", line);
}

void log_line(uint32_t level, std::string_view text, std::string_view plugin) {
  const auto spdlog_level =
      static_cast<spdlog::level::level_enum>(std::min<uint32_t>(level, spdlog::level::critical));
  if (text.starts_with('\x01')) {
    spdlog::log(spdlog_level, "{}", text);
  } else {
    // spdlog's numbers and the ABI's are the same up to error.
    log(std::min(level, BERTH_LOG_ERROR), text, {{"plugin", plugin}});
  }
}

namespace {

class CallbackSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit CallbackSink(std::function<void(uint32_t, std::string_view)> take)
      : take_(std::move(take)) {}

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    take_(static_cast<uint32_t>(message.level),
          std::string_view(message.payload.data(), message.payload.size()));
  }
  void flush_() override {}
  const std::function<void(uint32_t, std::string_view)> take_;
};

}  // namespace

void send_log_to(std::function<void(uint32_t, std::string_view)> take) {
  spdlog::default_logger()->sinks() = {std::make_shared<CallbackSink>(std::move(take))};
}

}  // namespace berth::ops
