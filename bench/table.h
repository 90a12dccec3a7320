// Figures of all sides, and what is to be said about them.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace berth::bench {

/// What a figure counts, which says whether more of it is good and how a difference is called.
enum class Measure {
  kRate,    // more is faster
  kTime,    // less is faster
  kAmount,  // of memory or processor time: less is better
};

/// What the first side wants to be, in the same run.
enum class Aim {
  kNone,  // a part of another figure, shown to explain it
  // Against the peer:
  kNeverWorse,
  kTwiceAsFast,
  kUnderHalf,
  // Of milliseconds, against the floor: not above it by more than 15 % or 5 ms, whichever is more.
  kNearFloor,
  // By itself: not above the figure's limit.
  kAtMost,
};

struct Figure {
  std::string name;  // with its unit
  Measure measure;
  Aim aim;
  double limit = 0;  // for kAtMost
  double part = 0;  // 0: values are those of rounds; else of single lives, and this quantile counts
};

/// The columns of a table.
struct Layout {
  std::string title;               // empty: none
  std::vector<std::string> sides;  // the first is the one that has aims
  size_t peer = 1;                 // the side that it is compared with
  size_t floor = 0;                // the side that nothing can beat; 0: none
};

class Table {
 public:
  explicit Table(Layout layout) : layout_(std::move(layout)) {}

  const Layout& layout() const { return layout_; }
  bool empty() const { return lines_.empty(); }
  /// One value of one round (or of one life); `side` is an index into the layout's. Rows appear in
  /// the order of their first value.
  void add(const Figure& figure, size_t side, double value);

  /// Medians (or quantiles), the ratio of the first side to its peer and to the floor, what it
  /// means, the aim and whether it is met, and the widest spread of all sides ((largest - smallest)
  /// / median); as aligned text or as Markdown.
  void print(bool markdown) const;

 private:
  struct Line {
    Figure figure;
    std::map<size_t, std::vector<double>> values;
  };
  std::vector<std::string> heads() const;
  std::vector<std::string> cells(const Line& line) const;

  Layout layout_;
  std::vector<Line> lines_;
};

/// Of all values: 0.5 is the median, 0.99 what one of a hundred is above. Zero when there are none.
double quantile(std::vector<double> values, double part);

}  // namespace berth::bench
