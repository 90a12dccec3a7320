#include "table.h"

#include <algorithm>
#include <cstdio>

namespace berth::bench {
namespace {

struct Summary {
  double median = 0;
  double spread = 0;  // (largest - smallest) / median
};

Summary summary_of(std::vector<double> values) {
  if (values.empty()) return {};
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

/// Aim and whether it is met. `gain` is above 1 when Berth is better. A hundredth is within what
/// two runs differ by.
std::string judge(Aim aim, double gain) {
  const auto said = [](const char* what, bool met) {
    return std::string(what) + (met ? ": met" : ": MISSED");
  };
  switch (aim) {
    case Aim::kNone:
      return "";
    case Aim::kNeverWorse:
      return said("never worse", gain > 0.99);
    case Aim::kTwiceAsFast:
      return said("twice as fast", gain >= 2);
    case Aim::kUnderHalf:
      return said("under half", gain > 2);
  }
  return "";
}

}  // namespace

void Table::add(const Figure& figure, Kind kind, double value) {
  auto line = std::find_if(lines_.begin(), lines_.end(),
                           [&](const Line& one) { return one.figure.name == figure.name; });
  if (line == lines_.end()) line = lines_.insert(lines_.end(), {figure, {}});
  line->values[kind].push_back(value);
}

void Table::print(bool markdown) const {
  if (markdown) {
    std::printf("| row | Berth | containerd | ratio | aim | spread |\n|---|---|---|---|---|---|\n");
  } else {
    std::printf("%-76s %10s %10s  %-14s  %-21s %s\n", "row", "Berth", "containerd", "ratio", "aim",
                "spread");
  }
  for (const Line& line : lines_) {
    const auto of = [&](Kind kind) {
      const auto found = line.values.find(kind);
      return found == line.values.end() ? Summary{} : summary_of(found->second);
    };
    const Summary berth = of(Kind::kBerth), peer = of(Kind::kContainerd);
    std::string ratio = "-", aim;
    if (berth.median > 0 && peer.median > 0) {
      const double quotient = berth.median / peer.median;
      char text[48];
      std::snprintf(text, sizeof text, "%.2f %s", quotient,
                    word_for(line.figure.measure, quotient));
      ratio = text;
      aim = judge(line.figure.aim, line.figure.measure == Measure::kRate ? quotient : 1 / quotient);
    }
    const double spread = 100 * std::max(berth.spread, peer.spread);
    std::printf(markdown ? "| %s | %s | %s | %s | %s | %.0f %% |\n"
                         : "%-76s %10s %10s  %-14s  %-21s %.0f %%\n",
                line.figure.name.c_str(), number(berth.median).c_str(), number(peer.median).c_str(),
                ratio.c_str(), aim.c_str(), spread);
  }
  for (const std::string& note : notes_) std::printf("\n%s\n", note.c_str());
}

}  // namespace berth::bench
