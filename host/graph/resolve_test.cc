#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "graph/graph.h"

namespace berth::graph {
namespace {

using manifest::Cardinality;
using manifest::Requirement;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;
using ::testing::SizeIs;

/// "one a.v1 *", in code: what a test plugin needs.
Requirement needs(const std::string& name, const std::string& type, const std::string& id = "*",
                  Cardinality cardinality = Cardinality::kOne, const std::string& range = "",
                  const std::string& service = "") {
  Requirement need;
  need.name = name;
  need.type = type;
  need.id = id;
  need.service = service;
  need.cardinality = cardinality;
  need.version = *manifest::VersionRange::parse(range);
  return need;
}

Candidate plugin(const std::string& type, const std::string& id,
                 std::vector<Requirement> requirements = {}, const std::string& version = "1.0",
                 std::vector<std::string> provides = {}) {
  Candidate candidate;
  candidate.plugin.type = type;
  candidate.plugin.id = id;
  candidate.plugin.version = *manifest::Version::parse(version);
  candidate.plugin.provides = std::move(provides);
  candidate.plugin.requires_ = std::move(requirements);
  candidate.file = "/p/" + id + ".so";
  return candidate;
}

Candidate client_facing(const std::string& id, const std::string& service,
                        std::vector<Requirement> requirements = {}) {
  Candidate candidate = plugin("grpc.v1", id, std::move(requirements), "1.0", {service});
  candidate.plugin.client_facing = true;
  return candidate;
}

std::vector<std::string> order(const Graph& graph) {
  std::vector<std::string> uris;
  for (const Node& node : graph.nodes) uris.push_back(node.uri());
  return uris;
}

const Node& node(const Graph& graph, const std::string& uri) {
  const auto found = std::find_if(graph.nodes.begin(), graph.nodes.end(),
                                  [&](const Node& one) { return one.uri() == uri; });
  if (found == graph.nodes.end()) {
    ADD_FAILURE() << "no node " << uri;
    static const Node none;
    return none;
  }
  return *found;
}

size_t index_of(const Graph& graph, const std::string& uri) {
  return static_cast<size_t>(&node(graph, uri) - graph.nodes.data());
}

std::vector<std::string> bound(const Graph& graph, const std::string& uri,
                               const std::string& requirement) {
  std::vector<std::string> uris;
  const auto& bindings = node(graph, uri).bindings;
  const auto found = bindings.find(requirement);
  if (found == bindings.end()) return {"(no binding)"};
  for (const size_t other : found->second) uris.push_back(graph.nodes[other].uri());
  return uris;
}

bool one_line(const std::string& text) { return text.find('\n') == std::string::npos; }

TEST(ResolveTest, NoPluginsAreAnEmptyGraph) {
  const Graph graph = resolve({}, {});
  EXPECT_THAT(graph.nodes, IsEmpty());
  EXPECT_THAT(graph.problems, IsEmpty());
  EXPECT_THAT(graph.fatal, IsEmpty());
  EXPECT_THAT(missing_services(graph), IsEmpty());
}

TEST(ResolveTest, OrderIsTopologicalThenByUri) {
  const std::vector<Candidate> candidates = {
      plugin("z.v1", "z"),
      plugin("a.v1", "needs-z", {needs("z", "z.v1")}),
      plugin("b.v1", "free"),
      plugin("c.v1", "needs-a", {needs("a", "a.v1"), needs("b", "b.v1")}),
  };
  const Graph graph = resolve(candidates, {});
  EXPECT_THAT(graph.problems, IsEmpty());
  // By URI, each right after what it needs: a.v1 first needs z.v1.
  EXPECT_THAT(order(graph), ElementsAre("z.v1.z", "a.v1.needs-z", "b.v1.free", "c.v1.needs-a"));
  EXPECT_THAT(bound(graph, "c.v1.needs-a", "a"), ElementsAre("a.v1.needs-z"));
}

TEST(ResolveTest, TheOrderOfCandidatesDoesNotMatter) {
  std::vector<Candidate> candidates = {
      plugin("a.v1", "a", {needs("all", "b.v1", "*", Cardinality::kAll)}),
      plugin("b.v1", "x"),
      plugin("b.v1", "y", {needs("missing", "none.v1")}),
      plugin("c.v1", "c", {needs("d", "d.v1")}),
      plugin("d.v1", "d", {needs("c", "c.v1")}),
  };
  const Graph first = resolve(candidates, {});
  std::sort(candidates.begin(), candidates.end(),
            [](const auto& a, const auto& b) { return a.file > b.file; });
  const Graph second = resolve(candidates, {});
  EXPECT_EQ(order(first), order(second));
  EXPECT_EQ(first.problems, second.problems);
}

TEST(ResolveTest, AllBindsEveryoneInOrderOfUri) {
  const Graph graph = resolve({plugin("m.v1", "m", {needs("all", "s.v1", "*", Cardinality::kAll)}),
                               plugin("s.v1", "overlay"), plugin("s.v1", "btrfs"),
                               plugin("s.v1", "native"), plugin("t.v1", "other")},
                              {});
  EXPECT_THAT(bound(graph, "m.v1.m", "all"),
              ElementsAre("s.v1.btrfs", "s.v1.native", "s.v1.overlay"));
}

TEST(ResolveTest, AllAndOptionalMayBeEmpty) {
  const Graph graph = resolve({plugin("m.v1", "m",
                                      {needs("all", "s.v1", "*", Cardinality::kAll),
                                       needs("maybe", "e.v1", "*", Cardinality::kOptional)})},
                              {});
  EXPECT_THAT(graph.problems, IsEmpty());
  EXPECT_EQ(node(graph, "m.v1.m").state, State::kOk);
  EXPECT_THAT(bound(graph, "m.v1.m", "all"), IsEmpty());
  EXPECT_THAT(bound(graph, "m.v1.m", "maybe"), IsEmpty());
}

TEST(ResolveTest, MissingNamesBothSidesAndTheFile) {
  const Graph graph = resolve(
      {plugin("m.v1", "m", {needs("content", "content.v1", "*", Cardinality::kOne, ">=1", "C")})},
      {});
  ASSERT_THAT(graph.problems, SizeIs(1));
  EXPECT_THAT(graph.problems[0],
              AllOf(HasSubstr("m.v1.m"), HasSubstr("/p/m.so"), HasSubstr("content.v1"),
                    HasSubstr("\"content\""), HasSubstr(">=1"), HasSubstr("install")));
  EXPECT_EQ(node(graph, "m.v1.m").state, State::kFailed);
  EXPECT_THAT(graph.fatal, IsEmpty());
}

TEST(ResolveTest, AServiceThatIsNotProvidedIsNamed) {
  const Graph graph =
      resolve({plugin("m.v1", "m", {needs("c", "c.v1", "*", Cardinality::kOne, "", "pkg.Wanted")}),
               plugin("c.v1", "c", {}, "1.0", {"pkg.Other"})},
              {});
  ASSERT_THAT(graph.problems, SizeIs(1));
  EXPECT_THAT(graph.problems[0],
              AllOf(HasSubstr("pkg.Wanted"), HasSubstr("/p/c.so"), HasSubstr("does not provide")));
}

TEST(ResolveTest, AVersionOutOfRangeIsNamedOnBothSides) {
  const Graph graph =
      resolve({plugin("m.v1", "m", {needs("c", "c.v1", "*", Cardinality::kOne, ">=1.2")}),
               plugin("c.v1", "c", {}, "1.1")},
              {});
  ASSERT_THAT(graph.problems, SizeIs(1));
  EXPECT_THAT(graph.problems[0],
              AllOf(HasSubstr("/p/m.so"), HasSubstr(">=1.2"), HasSubstr("/p/c.so"),
                    HasSubstr("has version 1.1"), HasSubstr("upgrade")));
}

TEST(ResolveTest, AVersionOutOfRangeOfAnOptionalRequirementIsReportedAndLeftOut) {
  for (const Cardinality cardinality : {Cardinality::kOptional, Cardinality::kAll}) {
    const Graph graph =
        resolve({plugin("m.v1", "m", {needs("c", "c.v1", "*", cardinality, ">=1.2")}),
                 plugin("c.v1", "c", {}, "1.1")},
                {});
    EXPECT_EQ(node(graph, "m.v1.m").state, State::kOk);
    EXPECT_THAT(bound(graph, "m.v1.m", "c"), IsEmpty());
    ASSERT_THAT(graph.problems, SizeIs(1));
    EXPECT_THAT(graph.problems[0], AllOf(HasSubstr("has version 1.1"), HasSubstr("without it")));
  }
}

TEST(ResolveTest, AmbiguousNamesAllAndHowToChoose) {
  std::vector<Candidate> candidates = {plugin("m.v1", "m", {needs("content", "c.v1")}),
                                       plugin("c.v1", "one"), plugin("c.v1", "two")};
  const Graph graph = resolve(candidates, {});
  ASSERT_THAT(graph.problems, SizeIs(1));
  EXPECT_THAT(graph.problems[0], AllOf(HasSubstr("/p/one.so"), HasSubstr("/p/two.so"),
                                       HasSubstr("content = \"one\" in [plugins.\"m.v1.m\"]")));
  EXPECT_EQ(node(graph, "m.v1.m").state, State::kFailed);

  Decisions decisions;
  decisions.choices["m.v1.m"]["content"] = "two";
  const Graph chosen = resolve(candidates, decisions);
  EXPECT_THAT(chosen.problems, IsEmpty());
  EXPECT_THAT(bound(chosen, "m.v1.m", "content"), ElementsAre("c.v1.two"));
}

TEST(ResolveTest, AChoiceThatIsNotThereIsSaidToBeTheConfigurations) {
  Decisions decisions;
  decisions.choices["m.v1.m"]["content"] = "three";
  const Graph graph = resolve({plugin("m.v1", "m", {needs("content", "c.v1")}),
                               plugin("c.v1", "one"), plugin("c.v1", "two")},
                              decisions);
  ASSERT_THAT(graph.problems, SizeIs(1));
  EXPECT_THAT(graph.problems[0],
              AllOf(HasSubstr("content = \"three\""), HasSubstr("one"), HasSubstr("two")));
  EXPECT_EQ(node(graph, "m.v1.m").state, State::kFailed);
}

TEST(ResolveTest, DisablingOneOfTwoResolvesAnAmbiguity) {
  Decisions decisions;
  decisions.disabled.insert("c.v1.one");
  const Graph graph = resolve({plugin("m.v1", "m", {needs("content", "c.v1")}),
                               plugin("c.v1", "one"), plugin("c.v1", "two")},
                              decisions);
  EXPECT_THAT(graph.problems, IsEmpty());
  EXPECT_THAT(bound(graph, "m.v1.m", "content"), ElementsAre("c.v1.two"));
  EXPECT_EQ(node(graph, "c.v1.one").state, State::kDisabled);
}

TEST(ResolveTest, AFailedCandidateDoesNotSilentlyGiveWayToAnother) {
  // Storage must not move to another plugin because the usual one did not come up.
  const Graph graph =
      resolve({plugin("m.v1", "m", {needs("content", "c.v1")}),
               plugin("c.v1", "one", {needs("x", "none.v1")}), plugin("c.v1", "two")},
              {});
  EXPECT_EQ(node(graph, "m.v1.m").state, State::kFailed);
  EXPECT_THAT(node(graph, "m.v1.m").reason, HasSubstr("several would do"));
}

TEST(ResolveTest, TheOutcomeDoesNotDependOnWhichOfTwoPluginsIsLookedAtFirst) {
  // "broken" has a URI before, then after, the one that needs it: blocked with the root cause
  // either way.
  for (const char* broken : {"a.v1", "z.v1"}) {
    const Graph graph = resolve({plugin("m.v1", "m", {needs("b", broken)}),
                                 plugin(broken, "broken", {needs("x", "none.v1")})},
                                {});
    EXPECT_EQ(node(graph, "m.v1.m").state, State::kBlocked) << broken;
    EXPECT_THAT(node(graph, "m.v1.m").reason, HasSubstr(std::string(broken) + ".broken"));
    EXPECT_THAT(graph.problems, SizeIs(1)) << "the dependant is no problem of its own";
  }
}

TEST(ResolveTest, ANeedOfADisabledPluginIsBlockedByItAndNamesIt) {
  Decisions decisions;
  decisions.disabled.insert("c.v1.c");
  const Graph graph = resolve({plugin("m.v1", "m", {needs("content", "c.v1")}), plugin("c.v1", "c"),
                               plugin("n.v1", "n", {needs("m", "m.v1")})},
                              decisions);
  EXPECT_EQ(node(graph, "m.v1.m").state, State::kBlocked);
  EXPECT_THAT(node(graph, "m.v1.m").reason,
              AllOf(HasSubstr("\"content\""), HasSubstr("c.v1.c (/p/c.so) is disabled"),
                    HasSubstr("disabled_plugins")));
  EXPECT_EQ(node(graph, "n.v1.n").state, State::kBlocked);
  EXPECT_THAT(node(graph, "n.v1.n").reason,
              AllOf(HasSubstr("m.v1.m"), HasSubstr("c.v1.c (/p/c.so) is disabled")));
  EXPECT_THAT(graph.problems, IsEmpty()) << "it is what the administrator wants";
}

TEST(ResolveTest, DisabledTakesPrecedence) {
  // A disabled plugin has no problems of its own, and an alias disables as the id does.
  std::vector<Candidate> candidates = {plugin("m.v1", "sqlite", {needs("x", "none.v1")})};
  candidates[0].plugin.aliases = {"bolt"};
  Decisions decisions;
  decisions.disabled.insert("m.v1.bolt");
  const Graph graph = resolve(candidates, decisions);
  EXPECT_EQ(graph.nodes[0].state, State::kDisabled);
  EXPECT_THAT(graph.problems, IsEmpty());
  EXPECT_THAT(graph.fatal, IsEmpty());
}

TEST(ResolveTest, ACandidateThatCannotRunFailsWithItsReasonAndBlocks) {
  std::vector<Candidate> candidates = {plugin("c.v1", "c"),
                                       plugin("m.v1", "m", {needs("c", "c.v1")})};
  candidates[0].failure = "/p/c.so needs ABI 9";
  const Graph graph = resolve(candidates, {});
  EXPECT_EQ(node(graph, "c.v1.c").state, State::kFailed);
  EXPECT_EQ(node(graph, "c.v1.c").reason, "/p/c.so needs ABI 9");
  EXPECT_EQ(node(graph, "m.v1.m").state, State::kBlocked);
  EXPECT_THAT(graph.problems, ElementsAre("/p/c.so needs ABI 9"));

  Decisions decisions;
  decisions.disabled.insert("c.v1.c");
  EXPECT_EQ(node(resolve(candidates, decisions), "c.v1.c").state, State::kDisabled);
}

TEST(ResolveTest, BlockedChainsNameTheRootCauseInOneLine) {
  const Graph graph = resolve(
      {plugin("a.v1", "a", {needs("x", "none.v1")}), plugin("b.v1", "b", {needs("a", "a.v1")}),
       plugin("c.v1", "c", {needs("b", "b.v1")})},
      {});
  EXPECT_THAT(graph.problems, SizeIs(1));
  EXPECT_EQ(node(graph, "a.v1.a").state, State::kFailed);
  for (const char* uri : {"b.v1.b", "c.v1.c"}) {
    EXPECT_EQ(node(graph, uri).state, State::kBlocked);
    EXPECT_THAT(node(graph, uri).reason, AllOf(HasSubstr("a.v1.a"), HasSubstr("none.v1")));
    EXPECT_TRUE(one_line(node(graph, uri).reason));
  }
}

TEST(ResolveTest, OptionalAndAllLeaveOutWhatFailed) {
  const Graph graph = resolve({plugin("s.v1", "bad", {needs("x", "none.v1")}),
                               plugin("s.v1", "good"), plugin("e.v1", "e", {needs("x", "none.v1")}),
                               plugin("m.v1", "m",
                                      {needs("all", "s.v1", "*", Cardinality::kAll),
                                       needs("maybe", "e.v1", "*", Cardinality::kOptional)})},
                              {});
  EXPECT_EQ(node(graph, "m.v1.m").state, State::kOk);
  EXPECT_THAT(bound(graph, "m.v1.m", "all"), ElementsAre("s.v1.good"));
  EXPECT_THAT(bound(graph, "m.v1.m", "maybe"), IsEmpty());
}

TEST(ResolveTest, CyclesNameTheirPathAndFailItsMembersOnly) {
  const Graph graph =
      resolve({plugin("a.v1", "a", {needs("b", "b.v1")}), plugin("b.v1", "b", {needs("c", "c.v1")}),
               plugin("c.v1", "c", {needs("a", "a.v1")}), plugin("d.v1", "d", {needs("a", "a.v1")}),
               plugin("e.v1", "e")},
              {});
  ASSERT_THAT(graph.problems, SizeIs(1));
  EXPECT_THAT(
      graph.problems[0],
      AllOf(HasSubstr("a.v1.a (/p/a.so) -> b.v1.b (/p/b.so) -> c.v1.c (/p/c.so) -> a.v1.a")));
  for (const char* uri : {"a.v1.a", "b.v1.b", "c.v1.c"}) {
    EXPECT_EQ(node(graph, uri).state, State::kFailed) << uri;
  }
  EXPECT_EQ(node(graph, "d.v1.d").state, State::kBlocked);
  EXPECT_EQ(node(graph, "e.v1.e").state, State::kOk);
}

TEST(ResolveTest, TwoCyclesThatShareAPluginAreBothInTheReport) {
  const Graph graph = resolve(
      {plugin("a.v1", "a", {needs("b", "b.v1"), needs("c", "c.v1")}),
       plugin("b.v1", "b", {needs("a", "a.v1")}), plugin("c.v1", "c", {needs("a", "a.v1")})},
      {});
  EXPECT_THAT(graph.problems, SizeIs(2));
  for (const Node& one : graph.nodes) EXPECT_EQ(one.state, State::kFailed) << one.uri();
}

TEST(ResolveTest, EveryPluginOnACycleFailsWhereverTheSearchBegins) {
  // c lies on a cycle only through a plugin that another cycle has been found with already.
  const Graph graph = resolve({plugin("a.v1", "a", {needs("b", "b.v1"), needs("c", "c.v1")}),
                               plugin("b.v1", "b", {needs("a", "a.v1")}),
                               plugin("c.v1", "c", {needs("b", "b.v1")}), plugin("d.v1", "d")},
                              {});
  ASSERT_THAT(graph.nodes, SizeIs(4));
  EXPECT_THAT(graph.problems,
              ElementsAre(HasSubstr("a.v1.a (/p/a.so) -> b.v1.b (/p/b.so) -> a.v1.a"),
                          HasSubstr("c.v1.c (/p/c.so) -> b.v1.b")));
  for (const char* uri : {"a.v1.a", "b.v1.b", "c.v1.c"}) {
    EXPECT_EQ(node(graph, uri).state, State::kFailed) << uri;
  }
}

TEST(ResolveTest, AnOptionalEdgeCanCloseACycle) {
  const Graph graph =
      resolve({plugin("a.v1", "a", {needs("b", "b.v1", "*", Cardinality::kOptional)}),
               plugin("b.v1", "b", {needs("a", "a.v1", "*", Cardinality::kAll)})},
              {});
  ASSERT_THAT(graph.problems, SizeIs(1));
  EXPECT_THAT(graph.problems[0], HasSubstr("->"));
}

TEST(ResolveTest, APluginIsNeverBoundToItselfByAStar) {
  const Graph graph =
      resolve({plugin("s.v1", "wrapper", {needs("inner", "s.v1", "*", Cardinality::kAll)}),
               plugin("s.v1", "plain")},
              {});
  EXPECT_THAT(graph.problems, IsEmpty());
  EXPECT_THAT(bound(graph, "s.v1.wrapper", "inner"), ElementsAre("s.v1.plain"));
}

TEST(ResolveTest, ALongChainDoesNotOverflowTheStack) {
  std::vector<Candidate> candidates = {plugin("t.v1", "p0")};
  for (int i = 1; i < 2000; ++i) {
    candidates.push_back(
        plugin("t.v1", "p" + std::to_string(i), {needs("n", "t.v1", "p" + std::to_string(i - 1))}));
  }
  const Graph graph = resolve(candidates, {});
  EXPECT_THAT(graph.problems, IsEmpty());
  EXPECT_EQ(graph.nodes.front().uri(), "t.v1.p0");
  EXPECT_EQ(graph.nodes.back().uri(), "t.v1.p1999");
}

TEST(ResolveTest, ADuplicateUriNamesBothFilesAndNeitherRuns) {
  std::vector<Candidate> candidates = {plugin("c.v1", "c"), plugin("c.v1", "c"),
                                       plugin("m.v1", "m", {needs("c", "c.v1")})};
  candidates[0].file = "/p/first.so";
  candidates[1].file = "/q/second.so";
  const Graph graph = resolve(candidates, {});
  ASSERT_THAT(graph.problems, SizeIs(1));
  EXPECT_THAT(graph.problems[0],
              AllOf(HasSubstr("c.v1.c"), HasSubstr("/p/first.so"), HasSubstr("/q/second.so")));
  ASSERT_THAT(graph.nodes, SizeIs(3));
  for (const Node& one : graph.nodes) {
    EXPECT_EQ(one.state, one.uri() == "m.v1.m" ? State::kBlocked : State::kFailed) << one.uri();
  }
}

TEST(ResolveTest, TwoClientFacingProvidersOfOneServiceBothFail) {
  const Graph graph =
      resolve({client_facing("images", "pkg.Images"), client_facing("other", "pkg.Images"),
               plugin("m.v1", "inner", {}, "1.0", {"pkg.Images"})},
              {});
  ASSERT_THAT(graph.problems, SizeIs(1));
  EXPECT_THAT(graph.problems[0], AllOf(HasSubstr("pkg.Images"), HasSubstr("/p/images.so"),
                                       HasSubstr("/p/other.so"), HasSubstr("disabled_plugins")));
  EXPECT_EQ(node(graph, "grpc.v1.images").state, State::kFailed);
  EXPECT_EQ(node(graph, "grpc.v1.other").state, State::kFailed);
  EXPECT_EQ(node(graph, "m.v1.inner").state, State::kOk) << "it does not face clients";
  EXPECT_THAT(missing_services(graph), ElementsAre(Pair("pkg.Images", HasSubstr("grpc.v1."))));
}

TEST(ResolveTest, TheHostsOwnServicesWinOverAPluginThatProvidesThemToo) {
  std::vector<Candidate> candidates = {client_facing("a-rogue", "pkg.Version"),
                                       client_facing("version", "pkg.Version")};
  candidates[1].file = "";  // the host's own
  const Graph graph = resolve(candidates, {});
  EXPECT_EQ(node(graph, "grpc.v1.version").state, State::kOk);
  EXPECT_EQ(node(graph, "grpc.v1.a-rogue").state, State::kFailed);
  EXPECT_THAT(missing_services(graph), IsEmpty());
  ASSERT_THAT(graph.problems, SizeIs(1));
  EXPECT_THAT(graph.problems[0], HasSubstr("berthd itself"));
}

TEST(ResolveTest, RequiredPluginsThatDoNotRunAreFatal) {
  Decisions decisions;
  decisions.required = {"a.v1.a", "b.v1.b", "c.v1.c", "d.v1.d", "e.v1.bolt"};
  decisions.disabled = {"d.v1.d"};
  std::vector<Candidate> candidates = {plugin("a.v1", "a"),
                                       plugin("b.v1", "b", {needs("x", "none.v1")}),
                                       plugin("d.v1", "d"), plugin("e.v1", "sqlite")};
  candidates[3].plugin.aliases = {"bolt"};
  const Graph graph = resolve(candidates, decisions);
  EXPECT_THAT(graph.fatal, ElementsAre(AllOf(HasSubstr("b.v1.b"), HasSubstr("none.v1")),
                                       AllOf(HasSubstr("c.v1.c"), HasSubstr("not installed")),
                                       AllOf(HasSubstr("d.v1.d"), HasSubstr("disabled"))));
  EXPECT_THAT(graph.problems, ::testing::IsSupersetOf(graph.fatal));
}

TEST(ResolveTest, ABlockedRequiredPluginIsFatalWithItsRootCause) {
  Decisions decisions;
  decisions.required = {"b.v1.b"};
  const Graph graph = resolve(
      {plugin("a.v1", "a", {needs("x", "none.v1")}), plugin("b.v1", "b", {needs("a", "a.v1")})},
      decisions);
  EXPECT_THAT(graph.fatal, ElementsAre(AllOf(HasSubstr("b.v1.b"), HasSubstr("a.v1.a"))));
}

TEST(ResolveTest, AllProblemsAreReportedTogether) {
  Decisions decisions;
  decisions.required = {"gone.v1.gone"};
  const Graph graph =
      resolve({plugin("a.v1", "a", {needs("x", "none.v1"), needs("y", "nothing.v1")}),
               plugin("b.v1", "b", {needs("c", "c.v1")}), plugin("c.v1", "c", {needs("b", "b.v1")}),
               plugin("d.v1", "d", {needs("e", "e.v1", "*", Cardinality::kOne, ">=2")}),
               plugin("e.v1", "e"), plugin("e.v1", "e2", {needs("s", "s.v1")}),
               plugin("s.v1", "s1"), plugin("s.v1", "s2"), plugin("s.v1", "s2")},
              decisions);
  std::string all;
  for (const std::string& text : graph.problems) {
    EXPECT_TRUE(one_line(text)) << text;
    all += text + "\n";
  }
  for (const char* expected : {"none.v1", "nothing.v1", "->", ">=2", "several would do",
                               "several files", "gone.v1.gone"}) {
    EXPECT_THAT(all, HasSubstr(expected));
  }
}

TEST(ResolveTest, OrderOnlyOrdersAndNothingElse) {
  Requirement after = needs("after", "z.v1");
  after.order_only = true;
  Requirement absent = needs("absent", "none.v1");
  absent.order_only = true;
  const Graph graph = resolve({plugin("a.v1", "a", {after, absent}),
                               plugin("z.v1", "bad", {needs("x", "none.v1")}), plugin("z.v1", "z")},
                              {});
  EXPECT_EQ(node(graph, "a.v1.a").state, State::kOk);
  EXPECT_LT(index_of(graph, "z.v1.z"), index_of(graph, "a.v1.a"));
  EXPECT_LT(index_of(graph, "z.v1.bad"), index_of(graph, "a.v1.a"));
  EXPECT_THAT(bound(graph, "a.v1.a", "after"), ElementsAre("(no binding)"))
      << "nothing is connected";
  EXPECT_THAT(graph.problems, SizeIs(1)) << "that of z.v1.bad";
}

TEST(ResolveTest, AProxyWithoutAVersionMeetsEveryRange) {
  std::vector<Candidate> candidates = {
      plugin("m.v1", "m", {needs("s", "s.v1", "*", Cardinality::kOne, ">=0.1, <1")}),
      plugin("s.v1", "stargz")};
  candidates[1].plugin.version = manifest::Version();
  const Graph graph = resolve(candidates, {});
  EXPECT_THAT(graph.problems, IsEmpty());
  EXPECT_THAT(bound(graph, "m.v1.m", "s"), ElementsAre("s.v1.stargz"));
}

// -- at run time
// -------------------------------------------------------------------------------------

TEST(FailTest, BlocksDependantsInOrderAndNamesTheRootCause) {
  Graph graph = resolve({plugin("a.v1", "a"), plugin("b.v1", "b", {needs("a", "a.v1")}),
                         plugin("c.v1", "c", {needs("b", "b.v1")}), plugin("d.v1", "d"),
                         plugin("e.v1", "e", {needs("a", "a.v1", "*", Cardinality::kOptional)})},
                        {});
  const auto blocked = fail(graph, index_of(graph, "a.v1.a"), State::kFailed, "no disk");
  std::vector<std::string> uris;
  for (const size_t one : blocked) uris.push_back(graph.nodes[one].uri());
  EXPECT_THAT(uris, ElementsAre("b.v1.b", "c.v1.c"));
  for (const char* uri : {"b.v1.b", "c.v1.c"}) {
    EXPECT_EQ(node(graph, uri).state, State::kBlocked);
    EXPECT_THAT(node(graph, uri).reason, AllOf(HasSubstr("a.v1.a"), HasSubstr("no disk")));
    EXPECT_TRUE(one_line(node(graph, uri).reason));
  }
  EXPECT_EQ(node(graph, "d.v1.d").state, State::kOk);
  EXPECT_EQ(node(graph, "e.v1.e").state, State::kOk);
  EXPECT_THAT(bound(graph, "e.v1.e", "a"), IsEmpty());
}

TEST(FailTest, OneLineEvenWhenTheReasonHasSeveral) {
  Graph graph = resolve({plugin("a.v1", "a"), plugin("b.v1", "b", {needs("a", "a.v1")})}, {});
  (void)fail(graph, 0, State::kFailed, "first\nsecond");
  EXPECT_TRUE(one_line(node(graph, "b.v1.b").reason)) << node(graph, "b.v1.b").reason;
}

TEST(FailTest, ASecondFailureBlocksNobodyAgain) {
  Graph graph = resolve({plugin("a.v1", "a"), plugin("b.v1", "b"),
                         plugin("c.v1", "c", {needs("a", "a.v1"), needs("b", "b.v1")})},
                        {});
  EXPECT_THAT(fail(graph, index_of(graph, "a.v1.a"), State::kSkipped, "no btrfs"), SizeIs(1));
  EXPECT_THAT(fail(graph, index_of(graph, "b.v1.b"), State::kFailed, "later"), IsEmpty());
  EXPECT_THAT(node(graph, "c.v1.c").reason, HasSubstr("no btrfs"));
  EXPECT_EQ(node(graph, "a.v1.a").state, State::kSkipped);
}

TEST(FailTest, AllLosesTheFailedOneOnly) {
  Graph graph = resolve({plugin("m.v1", "m", {needs("all", "s.v1", "*", Cardinality::kAll)}),
                         plugin("s.v1", "x"), plugin("s.v1", "y")},
                        {});
  EXPECT_THAT(fail(graph, index_of(graph, "s.v1.x"), State::kSkipped, "no"), IsEmpty());
  EXPECT_THAT(bound(graph, "m.v1.m", "all"), ElementsAre("s.v1.y"));
}

TEST(ReadinessTest, MissesClientFacingServicesOnly) {
  std::vector<Candidate> candidates = {
      client_facing("ok", "pkg.Ok"),
      client_facing("broken", "pkg.Broken", {needs("x", "none.v1")}),
      client_facing("optional", "pkg.Optional", {needs("x", "none.v1")}),
      client_facing("off", "pkg.Off"),
      plugin("m.v1", "m", {needs("x", "none.v1")}, "1", {"pkg.Inner"}),
      client_facing("dependent", "pkg.Dependent", {needs("m", "m.v1")})};
  candidates[2].plugin.optional = true;
  Decisions decisions;
  decisions.disabled.insert("grpc.v1.off");
  Graph graph = resolve(candidates, decisions);
  EXPECT_THAT(missing_services(graph), ElementsAre(Pair("pkg.Broken", HasSubstr("none.v1")),
                                                   Pair("pkg.Dependent", HasSubstr("m.v1.m"))));
  (void)fail(graph, index_of(graph, "grpc.v1.ok"), State::kFailed, "crashed");
  EXPECT_THAT(missing_services(graph), SizeIs(3));
}

}  // namespace
}  // namespace berth::graph
