#include "graph/graph.h"

#include <gtest/gtest.h>

namespace berth::graph {
namespace {

using manifest::Cardinality;

Candidate plugin(const std::string& type, const std::string& id,
                 std::vector<std::string> provides = {}) {
  Candidate candidate;
  candidate.file = "/p/" + type + "-" + id + ".so";
  candidate.plugin.type = type;
  candidate.plugin.id = id;
  candidate.plugin.version = *manifest::Version::parse("1.1");
  candidate.plugin.provides = std::move(provides);
  return candidate;
}

Candidate& needs(Candidate& candidate, const std::string& type,
                 Cardinality cardinality = Cardinality::kOne, const std::string& version = "") {
  manifest::Requirement need;
  need.name = type;
  need.type = type;
  need.cardinality = cardinality;
  need.version = *manifest::VersionRange::parse(version);
  candidate.plugin.requires_.push_back(need);
  return candidate;
}

const Node& node(const Graph& graph, const std::string& uri) {
  for (const Node& one : graph.nodes) {
    if (one.uri() == uri) return one;
  }
  static const Node none;
  ADD_FAILURE() << "no node " << uri;
  return none;
}

TEST(Graph, OrdersByNeedThenByName) {
  Candidate a = plugin("a", "1");
  needs(a, "z");
  const Graph graph = resolve({a, plugin("m", "2"), plugin("m", "1"), plugin("z", "1")}, {});
  EXPECT_TRUE(graph.problems.empty());
  std::vector<std::string> order;
  for (const Node& one : graph.nodes) order.push_back(one.uri());
  EXPECT_EQ(order, (std::vector<std::string>{"z.1", "a.1", "m.1", "m.2"}));
}

TEST(Graph, ReportsAllProblemsAtOnceAndBlocksWithOneLine) {
  Candidate a = plugin("a", "1");
  needs(a, "missing");
  Candidate b = plugin("b", "1");
  needs(b, "c");
  Candidate c = plugin("c", "1");
  needs(c, "b");
  Candidate d = plugin("d", "1");
  needs(d, "a");
  Candidate e = plugin("e", "1");
  needs(e, "v", Cardinality::kOne, ">=1.2");
  const Graph graph = resolve({a, b, c, d, e, plugin("v", "1")}, {});
  ASSERT_EQ(graph.problems.size(), 3U);
  EXPECT_NE(graph.problems[0].find("a.1 (/p/a-1.so) needs missing.*"), std::string::npos)
      << graph.problems[0];
  EXPECT_NE(graph.problems[1].find("v.1 (/p/v-1.so) has version 1.1"), std::string::npos)
      << graph.problems[1];
  EXPECT_NE(graph.problems[2].find("in a circle"), std::string::npos) << graph.problems[2];
  EXPECT_EQ(node(graph, "d.1").state, State::kBlocked);
  EXPECT_NE(node(graph, "d.1").reason.find("it needs a.1"), std::string::npos);
  EXPECT_EQ(node(graph, "b.1").state, State::kFailed);
  EXPECT_EQ(node(graph, "v.1").state, State::kOk);
}

TEST(Graph, AmbiguityIsResolvedByChoice) {
  Candidate a = plugin("a", "1");
  needs(a, "b");
  const std::vector<Candidate> all = {a, plugin("b", "1"), plugin("b", "2")};
  const Graph ambiguous = resolve(all, {});
  ASSERT_EQ(ambiguous.problems.size(), 1U);
  EXPECT_NE(ambiguous.problems[0].find("several would do: b.1 (/p/b-1.so), b.2 (/p/b-2.so)"),
            std::string::npos)
      << ambiguous.problems[0];
  Decisions decisions;
  decisions.choices["a.1"]["b"] = "2";
  const Graph chosen = resolve(all, decisions);
  EXPECT_TRUE(chosen.problems.empty());
  EXPECT_EQ(chosen.nodes[node(chosen, "a.1").bindings.at("b")[0]].uri(), "b.2");
}

TEST(Graph, DuplicatesAndServiceConflictsNameBothFiles) {
  Candidate a = plugin("a", "1", {"s.S"});
  Candidate b = plugin("b", "1", {"s.S"});
  a.plugin.client_facing = b.plugin.client_facing = true;
  Candidate twin = plugin("c", "1");
  twin.file = "/q/c.so";
  const Graph graph = resolve({a, b, plugin("c", "1"), twin}, {});
  ASSERT_EQ(graph.problems.size(), 2U);
  EXPECT_NE(graph.problems[0].find("/p/c-1.so and /q/c.so"), std::string::npos)
      << graph.problems[0];
  EXPECT_NE(graph.problems[1].find("service s.S is offered"), std::string::npos)
      << graph.problems[1];
}

TEST(Graph, DisabledPluginIsTheReasonAndRequiredOneIsFatal) {
  Candidate a = plugin("a", "1");
  needs(a, "b");
  Decisions decisions;
  decisions.disabled = {"b.1"};
  decisions.required = {"a.1", "x.y"};
  const Graph graph = resolve({a, plugin("b", "1")}, decisions);
  ASSERT_EQ(graph.fatal.size(), 2U);
  EXPECT_NE(graph.fatal[0].find("b.1 (/p/b-1.so) is disabled"), std::string::npos)
      << graph.fatal[0];
  EXPECT_NE(graph.fatal[1].find("x.y"), std::string::npos);
}

TEST(Graph, FailureAtRunTimeBlocksOnlyThoseThatCannotDoWithout) {
  Candidate hard = plugin("hard", "1");
  needs(hard, "s");
  hard.plugin.client_facing = true;
  hard.plugin.provides = {"s.Hard"};
  Candidate soft = plugin("soft", "1");
  needs(soft, "s", Cardinality::kAll);
  Graph graph = resolve({hard, soft, plugin("s", "1")}, {});
  ASSERT_TRUE(graph.problems.empty());
  size_t failed = 0;
  while (graph.nodes[failed].uri() != "s.1") ++failed;
  const auto blocked = fail(graph, failed, State::kFailed, "no disk");
  ASSERT_EQ(blocked.size(), 1U);
  EXPECT_EQ(graph.nodes[blocked[0]].uri(), "hard.1");
  EXPECT_EQ(node(graph, "soft.1").state, State::kOk);
  EXPECT_TRUE(node(graph, "soft.1").bindings.at("s").empty());
  EXPECT_EQ(missing_services(graph).count("s.Hard"), 1U);
}

TEST(CandidatesTest, CountWhateverTheirStateAndTheirVersionMustFit) {
  Candidate needy = plugin("grpc", "a");
  needs(needy, "store", Cardinality::kOne, ">=1, <2");
  Candidate old = plugin("store", "old");
  old.plugin.version = *manifest::Version::parse("0.9");
  const Graph graph = resolve({plugin("store", "x"), old, needy}, {{"store.x"}, {}, {}});
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if (graph.nodes[i].uri() != "grpc.a") continue;
    const auto found = candidates(graph.nodes, i, graph.nodes[i].plugin.requires_.front());
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(graph.nodes[found.front()].uri(), "store.x");
    EXPECT_EQ(graph.nodes[i].state, State::kBlocked);
    EXPECT_TRUE(graph.nodes[i].unmet.empty()) << "it is installed, and disabled";
  }
}

TEST(CandidatesTest, WhatNothingInstalledMeetsIsUnmet) {
  Candidate needy = plugin("grpc", "a");
  needs(needy, "store");
  const Graph graph = resolve({needy}, {});
  EXPECT_EQ(node(graph, "grpc.a").unmet, std::set<std::string>{"store"});
  EXPECT_TRUE(candidates(graph.nodes, 0, graph.nodes[0].plugin.requires_.front()).empty());
}

}  // namespace
}  // namespace berth::graph
