// Figures of both daemons, and what is to be said about them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "daemon_process.h"

namespace berth::bench {

/// What a figure counts, which says whether more of it is good and how a difference is called.
enum class Measure {
  kRate,    // more is faster
  kTime,    // less is faster
  kAmount,  // of memory or processor time: less is better
};

/// What Berth wants to be; against containerd in the same run.
enum class Aim {
  kNone,  // a part of another figure, shown to explain it
  kNeverWorse,
  kTwiceAsFast,
  kUnderHalf,
};

struct Figure {
  std::string name;  // with its unit
  Measure measure;
  Aim aim;
};

class Table {
 public:
  /// One value of one round. Rows appear in the order of their first value.
  void add(const Figure& figure, Kind kind, double value);
  /// A line under the table: what was not measured, and why.
  void note(const std::string& text) { notes_.push_back(text); }

  /// Medians, the ratio Berth : containerd, what it means, the aim and whether it is met, and the
  /// widest spread of both sides ((largest - smallest) / median); as aligned text or as Markdown.
  void print(bool markdown) const;

 private:
  struct Line {
    Figure figure;
    std::map<Kind, std::vector<double>> values;
  };
  std::vector<Line> lines_;
  std::vector<std::string> notes_;
};

}  // namespace berth::bench
