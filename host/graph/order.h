// Order and cycles of a directed graph given as lists of indices; internal to this folder.
#pragma once

#include <cstddef>
#include <vector>

namespace berth::graph {

/// For each vertex, the vertices that must come before it; sorted, without duplicates.
using Edges = std::vector<std::vector<size_t>>;

/// For each vertex the number of its strongly connected component: two vertices with the same
/// number need each other.
std::vector<size_t> components(const Edges& edges);

/// A shortest cycle through `start`, beginning with it; empty when there is none. Ties go to the
/// lesser index.
std::vector<size_t> cycle_through(const Edges& edges, size_t start);

/// All vertices in order of index, but each right after those it needs that have not come yet.
/// Edges within a component are ignored, so that an order exists whatever the cycles.
std::vector<size_t> topological_order(const Edges& edges, const std::vector<size_t>& component);

}  // namespace berth::graph
