#include "table.h"

#include <algorithm>
#include <cstdio>

namespace berth::bench {
namespace {

struct Summary {
  double median = 0;
  double spread = 0;  // (largest - smallest) / median
};

Summary summary_of(const Figure& figure, std::vector<double> values) {
  if (values.empty()) return {};
  if (figure.part > 0) return {quantile(std::move(values), figure.part), 0};
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  const double median =
      values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
  return {median, median == 0 ? 0 : (values.back() - values.front()) / median};
}

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.*f", value >= 1000 ? 0 : value >= 10 ? 1 : 2, value);
  return text;
}

const char* word_for(Measure measure, double ratio) {
  if (ratio > 0.995 && ratio < 1.005) return "same";
  switch (measure) {
    case Measure::kRate:
      return ratio > 1 ? "faster" : "slower";
    case Measure::kTime:
      return ratio < 1 ? "faster" : "slower";
    case Measure::kAmount:
      return ratio < 1 ? "less" : "more";
  }
  return "";
}

std::string percent(double part) {
  char text[32];
  std::snprintf(text, sizeof text, "%.0f %%", 100 * part);
  return text;
}

/// Aim and whether it is met. A hundredth is within what two runs differ by. `own`, `peer` and
/// `floor` are 0 where nothing was measured.
std::string judge(const Figure& figure, double own, double peer, double floor) {
  const auto said = [](const std::string& what, bool met) {
    return what + (met ? ": met" : ": MISSED");
  };
  // Above 1 when the first side is better.
  const double gain = own <= 0 || peer <= 0              ? 0
                      : figure.measure == Measure::kRate ? own / peer
                                                         : peer / own;
  switch (figure.aim) {
    case Aim::kNone:
      return "";
    case Aim::kNeverWorse:
      return gain == 0 ? "" : said("never worse", gain > 0.99);
    case Aim::kTwiceAsFast:
      return gain == 0 ? "" : said("twice as fast", gain >= 2);
    case Aim::kUnderHalf:
      return gain == 0 ? "" : said("under half", gain > 2);
    case Aim::kNearFloor:
      if (own <= 0 || floor <= 0) return "";
      return said("floor + 15 % or 5 ms", own <= std::max(floor * 1.15, floor + 5));
    case Aim::kAtMost:
      return said("at most " + number(figure.limit), own <= figure.limit);
  }
  return "";
}

std::string ratio_of(Measure measure, double own, double other) {
  if (own <= 0 || other <= 0) return "-";
  char text[48];
  std::snprintf(text, sizeof text, "%.2f %s", own / other, word_for(measure, own / other));
  return text;
}

/// Bytes that start a character: what a terminal shows is as wide as that.
size_t width_of(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

double quantile(std::vector<double> values, double part) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const auto at = static_cast<size_t>(part * static_cast<double>(values.size()));
  return values[std::min(at, values.size() - 1)];
}

void Table::add(const Figure& figure, size_t side, double value) {
  auto line = std::find_if(lines_.begin(), lines_.end(),
                           [&](const Line& one) { return one.figure.name == figure.name; });
  if (line == lines_.end()) line = lines_.insert(lines_.end(), {figure, {}});
  line->values[side].push_back(value);
}

std::vector<std::string> Table::heads() const {
  std::vector<std::string> heads = {"row"};
  heads.insert(heads.end(), layout_.sides.begin(), layout_.sides.end());
  if (layout_.floor == 0) {
    heads.emplace_back("ratio");
  } else {
    heads.push_back("to " + layout_.sides[layout_.floor]);
    heads.push_back("to " + layout_.sides[layout_.peer]);
  }
  heads.insert(heads.end(), {"aim", "spread"});
  return heads;
}

std::vector<std::string> Table::cells(const Line& line) const {
  std::vector<std::string> cells = {line.figure.name};
  std::vector<double> medians;
  double spread = 0;
  for (size_t side = 0; side < layout_.sides.size(); ++side) {
    const auto found = line.values.find(side);
    const Summary summary =
        found == line.values.end() ? Summary{} : summary_of(line.figure, found->second);
    medians.push_back(summary.median);
    spread = std::max(spread, summary.spread);
    cells.push_back(found == line.values.end() ? "-" : number(summary.median));
  }
  const double own = medians[0], peer = medians[layout_.peer];
  const double floor = layout_.floor == 0 ? 0 : medians[layout_.floor];
  if (layout_.floor != 0) cells.push_back(ratio_of(line.figure.measure, own, floor));
  cells.push_back(ratio_of(line.figure.measure, own, peer));
  const bool measured = line.values.contains(0);
  cells.push_back(measured ? judge(line.figure, own, peer, floor) : "");
  cells.push_back(line.figure.part > 0 ? "" : percent(spread));
  return cells;
}

void Table::print(bool markdown) const {
  if (!layout_.title.empty()) {
    std::printf("%s%s\n\n", markdown ? "**" : "", (layout_.title + (markdown ? "**" : "")).c_str());
  }
  std::vector<std::vector<std::string>> rows = {heads()};
  for (const Line& line : lines_) rows.push_back(cells(line));
  std::vector<size_t> widths(rows.front().size());
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  }
  for (size_t number = 0; number < rows.size(); ++number) {
    std::string text = markdown ? "|" : "";
    for (size_t i = 0; i < rows[number].size(); ++i) {
      const std::string& cell = rows[number][i];
      text +=
          markdown ? " " + cell + " |" : cell + std::string(widths[i] + 2 - width_of(cell), ' ');
    }
    std::printf("%s\n", text.c_str());
    if (markdown && number == 0) {
      std::string rule = "|";
      for (size_t i = 0; i < widths.size(); ++i) rule += "---|";
      std::printf("%s\n", rule.c_str());
    }
  }
}

}  // namespace berth::bench
