#include "graph/order.h"

#include <algorithm>
#include <limits>
#include <queue>

namespace berth::graph {
namespace {

constexpr size_t kNone = std::numeric_limits<size_t>::max();

}  // namespace

std::vector<size_t> components(const Edges& edges) {
  // Tarjan's algorithm with a stack of its own: a chain of plugins may be longer than the thread's
  // stack is deep.
  struct Frame {
    size_t vertex;
    size_t next;  // position in edges[vertex]
  };
  std::vector<size_t> component(edges.size(), kNone), number(edges.size(), kNone),
      low(edges.size());
  std::vector<size_t> open;
  std::vector<Frame> frames;
  size_t numbers = 0, count = 0;
  for (size_t root = 0; root < edges.size(); ++root) {
    if (number[root] != kNone) continue;
    frames.push_back({root, 0});
    while (!frames.empty()) {
      const size_t vertex = frames.back().vertex;
      if (frames.back().next == 0) {
        number[vertex] = low[vertex] = numbers++;
        open.push_back(vertex);
      }
      bool descended = false;
      while (frames.back().next < edges[vertex].size()) {
        const size_t other = edges[vertex][frames.back().next++];
        if (number[other] == kNone) {
          frames.push_back({other, 0});
          descended = true;
          break;
        }
        if (component[other] == kNone) low[vertex] = std::min(low[vertex], number[other]);
      }
      if (descended) continue;
      // A vertex without edges must not be taken for one that has just been entered: it leaves here
      // at once.
      frames.pop_back();
      if (!frames.empty()) {
        low[frames.back().vertex] = std::min(low[frames.back().vertex], low[vertex]);
      }
      if (low[vertex] != number[vertex]) continue;
      size_t member = kNone;
      do {
        member = open.back();
        open.pop_back();
        component[member] = count;
      } while (member != vertex);
      ++count;
    }
  }
  return component;
}

std::vector<size_t> cycle_through(const Edges& edges, size_t start) {
  std::vector<size_t> from(edges.size(), kNone);
  std::queue<size_t> next;
  next.push(start);
  while (!next.empty()) {
    const size_t vertex = next.front();
    next.pop();
    for (const size_t other : edges[vertex]) {
      if (other == start) {
        std::vector<size_t> cycle;
        for (size_t at = vertex; at != start; at = from[at]) cycle.push_back(at);
        cycle.push_back(start);
        std::reverse(cycle.begin(), cycle.end());
        return cycle;
      }
      if (from[other] != kNone) continue;
      from[other] = vertex;
      next.push(other);
    }
  }
  return {};
}

std::vector<size_t> topological_order(const Edges& edges, const std::vector<size_t>& component) {
  struct Frame {
    size_t vertex;
    size_t next;
  };
  std::vector<size_t> order;
  std::vector<bool> seen(edges.size(), false);
  std::vector<Frame> frames;
  for (size_t root = 0; root < edges.size(); ++root) {
    if (seen[root]) continue;
    seen[root] = true;
    frames.push_back({root, 0});
    while (!frames.empty()) {
      const size_t vertex = frames.back().vertex;
      if (frames.back().next == edges[vertex].size()) {
        order.push_back(vertex);
        frames.pop_back();
        continue;
      }
      const size_t other = edges[vertex][frames.back().next++];
      if (component[other] == component[vertex] || seen[other]) continue;
      seen[other] = true;
      frames.push_back({other, 0});
    }
  }
  return order;
}

}  // namespace berth::graph
