// The graph and its explanations: of plugin files as a whole, and of states that only a running
// daemon knows.
#include "plugin_graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "why.h"

namespace berth::ctl {
namespace {

namespace fs = std::filesystem;
namespace pb = berth::host::v1;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

/// A plugin directory with some of the plugins that are wrong on purpose.
class PluginFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path().string() + "/berth-graph.XXXXXX";
    ASSERT_NE(::mkdtemp(folder_.data()), nullptr);
  }
  void TearDown() override { fs::remove_all(folder_); }

  void add(const std::string& name) const {
    fs::copy_file(std::string(TEST_PLUGINS) + "/bad/" + name + ".so", folder_ + "/" + name + ".so");
  }
  KnownPlugins known(const std::string& config = {}) const {
    PluginSource source;
    source.plugin_dir = folder_;
    if (!config.empty()) {
      source.config = folder_ + "/config.toml";
      std::ofstream(source.config) << "version = 3\n" << config;
    }
    auto found = known_plugins(source);
    EXPECT_TRUE(found.ok()) << found.status().message();
    return found.ok() ? std::move(*found) : KnownPlugins{};
  }

  std::string folder_;
};

TEST_F(PluginFiles, AreShownWithWhatEachNeeds) {
  for (const char* name : {"store-a", "undecided", "lonely"}) add(name);
  const KnownPlugins plugins = known();
  const std::string text = graph_text(plugins);
  EXPECT_THAT(text, HasSubstr("io.containerd.content.v1.store-a 0.1.0: would start\n"));
  EXPECT_THAT(text, HasSubstr("io.containerd.grpc.v1.undecided 0.1.0: would start\n"
                              "  store (one): io.containerd.content.v1.store-a\n"));
  EXPECT_THAT(text, HasSubstr("  peer (one): nothing meets io.containerd.content.v1.* with "
                              "berth.test.v1.Nowhere\n"));
  EXPECT_LT(text.find("v1.store-a 0.1.0"), text.find("v1.undecided 0.1.0")) << "not in order";

  const std::string dot = graph_dot(plugins);
  EXPECT_THAT(dot, HasSubstr("\"io.containerd.grpc.v1.undecided\" -> "
                             "\"io.containerd.content.v1.store-a\" [label = \"store\"];"));
  EXPECT_THAT(dot, HasSubstr("\"io.containerd.content.v1.* with berth.test.v1.Nowhere\" "
                             "[shape = diamond, color = red];"));

  const auto json = nlohmann::json::parse(graph_json(plugins));
  for (const auto& plugin : json["plugins"]) {
    if (plugin["id"] != "undecided") continue;
    EXPECT_EQ(plugin["requirements"][0]["providers"][0], "io.containerd.content.v1.store-a");
    EXPECT_EQ(plugin["state"], "would start");
  }
  EXPECT_EQ(json["problems"].size(), 1U) << json["problems"];
}

TEST_F(PluginFiles, WhyOneIsIn) {
  for (const char* name : {"store-a", "undecided"}) add(name);
  const auto all = explain(known(), "io.containerd.content.v1.store-a");
  ASSERT_EQ(all.size(), 1U);
  EXPECT_TRUE(all[0].in);
  EXPECT_THAT(all[0].needed_by, ElementsAre("io.containerd.grpc.v1.undecided"));
  EXPECT_THAT(all[0].advice, IsEmpty());
  const KnownPlugins plugins = known();
  const auto user = explain(plugins, "io.containerd.grpc.v1.undecided");
  EXPECT_THAT(explanation_text(plugins, user),
              HasSubstr("  uses store: io.containerd.content.v1.store-a\n"));
  EXPECT_THAT(nlohmann::json::parse(explanation_json(plugins, user))["plugins"][0]["uses"],
              ElementsAre("store: io.containerd.content.v1.store-a"));
}

TEST_F(PluginFiles, WhyOneLacksWhatNobodyHas) {
  add("lonely");
  const KnownPlugins plugins = known();
  EXPECT_EQ(
      explanation_text(plugins, explain(plugins, "io.containerd.grpc.v1.lonely")),
      "io.containerd.grpc.v1.lonely (" + folder_ +
          "/lonely.so) failed\n"
          "  needs, as \"peer\", io.containerd.content.v1.* with berth.test.v1.Nowhere is not "
          "there\n"
          "  what to do: install a plugin that is io.containerd.content.v1.* with "
          "berth.test.v1.Nowhere\n");
}

TEST_F(PluginFiles, WhyOneIsBlockedByADisabledOne) {
  for (const char* name : {"store-a", "undecided"}) add(name);
  const KnownPlugins plugins = known("disabled_plugins = [\"io.containerd.content.v1.store-a\"]\n");
  const auto all = explain(plugins, "io.containerd.grpc.v1.undecided");
  EXPECT_FALSE(all[0].in);
  ASSERT_EQ(all[0].chains.size(), 1U);
  ASSERT_EQ(all[0].chains[0].size(), 1U);
  EXPECT_EQ(all[0].chains[0][0].state, "disabled");
  EXPECT_THAT(
      all[0].advice,
      ElementsAre("take \"io.containerd.content.v1.store-a\" out of disabled_plugins, if it "
                  "is wanted"));
}

TEST_F(PluginFiles, WhyOneFailsItself) {
  for (const char* name : {"store-a", "store-b", "undecided", "circle-a", "circle-b"}) add(name);
  const KnownPlugins plugins = known();
  const auto undecided = explain(plugins, "io.containerd.grpc.v1.undecided");
  EXPECT_THAT(undecided[0].plugin.reason, HasSubstr("several would do"));
  EXPECT_THAT(undecided[0].chains, IsEmpty());
  const auto circle = explain(plugins, "io.containerd.grpc.v1.circle-a");
  EXPECT_THAT(circle[0].plugin.reason, HasSubstr("need one another in a circle"));
}

TEST_F(PluginFiles, WhyOneOfAnotherAbiFails) {
  add("wrong-major");
  const KnownPlugins plugins = known();
  EXPECT_THAT(explanation_text(plugins, explain(plugins, "io.containerd.grpc.v1.wrong-major")),
              HasSubstr("wrong-major.so: abi.major is 7, this host has 0: upgrade berth\n"));
}

TEST_F(PluginFiles, WhyOneIsNotThereNamesWhoWantsItAndWhatCouldNotBeRead) {
  for (const char* name : {"lonely", "no-manifest", "writable"}) add(name);
  ::chmod((folder_ + "/writable.so").c_str(), 0666);
  const KnownPlugins plugins = known();
  const auto all = explain(plugins, "berth.test.v1.Nowhere");
  EXPECT_EQ(all[0].plugin.state, "absent");
  EXPECT_THAT(all[0].needed_by, ElementsAre("io.containerd.grpc.v1.lonely"));
  const std::string text = explanation_text(plugins, all);
  EXPECT_THAT(text, HasSubstr("berth.test.v1.Nowhere is not there"));
  EXPECT_THAT(text, HasSubstr("  wanted by io.containerd.grpc.v1.lonely\n"));
  EXPECT_THAT(text, HasSubstr("no-manifest.so: it has no manifest"));
  EXPECT_THAT(text, HasSubstr("writable.so has mode 0666"));
  EXPECT_THAT(text, HasSubstr("  looked at: plugins of " + folder_ + "\n"));
}

TEST_F(PluginFiles, AProxiedOneIsToldWithItsAddressAndThatNobodyListensThere) {
  add("store-a");
  const std::string address = folder_ + "/far.sock";
  const KnownPlugins plugins =
      known("[proxy_plugins.far]\ntype = \"snapshot\"\naddress = \"" + address + "\"\n");
  const std::string line = folder_ + "/config.toml:2";
  EXPECT_EQ(explanation_text(plugins, explain(plugins, "far")),
            "io.containerd.snapshotter.v1.far would start\n"
            "  is of another program, reached at " +
                address + " (type \"snapshot\", " + line + "); now nobody listens at " + address +
                ": there is no socket\n"
                "  what to do: start the program that is to listen there; or correct the address "
                "at " +
                line + "\n");
  EXPECT_THAT(graph_text(plugins),
              HasSubstr(": would start, at " + address + ", but now nobody listens at "));
  const auto json = nlohmann::json::parse(graph_json(plugins));
  for (const auto& plugin : json["plugins"]) {
    if (plugin["id"] != "far") {
      EXPECT_FALSE(plugin.contains("proxy")) << plugin;
      continue;
    }
    EXPECT_EQ(plugin["proxy"]["address"], address);
    EXPECT_EQ(plugin["proxy"]["contact"], "nobody listens");
  }
}

TEST_F(PluginFiles, AProxiedOneThatIsDisabledIsNotAsked) {
  const KnownPlugins plugins = known(
      "disabled_plugins = [\"io.containerd.snapshotter.v1.far\"]\n"
      "[proxy_plugins.far]\ntype = \"snapshot\"\naddress = \"/nowhere/far.sock\"\n");
  const auto all = explain(plugins, "far");
  EXPECT_EQ(all[0].plugin.state, "disabled");
  EXPECT_EQ(all[0].proxy->contact(), pb::CONTACT_UNSPECIFIED);
  EXPECT_THAT(all[0].advice, ElementsAre(HasSubstr("out of disabled_plugins")));
}

TEST_F(PluginFiles, AServiceStandsForThePluginsThatProvideIt) {
  for (const char* name : {"store-a", "store-b"}) add(name);
  const auto all = explain(known(), "berth.test.v1.Store");
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].plugin.uri, "io.containerd.content.v1.store-a");
  EXPECT_EQ(all[1].plugin.uri, "io.containerd.content.v1.store-b");
}

TEST_F(PluginFiles, AnEndOfANameWillDoWhereItIsClear) {
  for (const char* name : {"store-a", "store-b", "undecided"}) add(name);
  const KnownPlugins plugins = known();
  for (const char* name : {"store-a", "v1.store-a", "content.v1.store-a"}) {
    const auto all = explain(plugins, name);
    ASSERT_EQ(all.size(), 1U) << name;
    EXPECT_EQ(all[0].plugin.uri, "io.containerd.content.v1.store-a");
  }
  EXPECT_EQ(explain(plugins, "Store").size(), 2U) << "a service by its last name";
  EXPECT_EQ(explain(plugins, "tore-a")[0].plugin.state, "absent") << "it ends within a name";
}

TEST_F(PluginFiles, AMisspeltNameIsToldTheNearOnes) {
  for (const char* name : {"store-a", "store-b", "undecided"}) add(name);
  const auto advice_on = [&](const char* name) { return explain(known(), name)[0].advice; };
  const std::string undecided = "ask for io.containerd.grpc.v1.undecided, if that was meant";
  EXPECT_THAT(advice_on("undecidid"), Contains(undecided));
  EXPECT_THAT(advice_on("io.containerd.grpc.v2.undecided"), Contains(undecided));
  EXPECT_THAT(advice_on("UNDECIDED"), Contains(undecided));
  EXPECT_EQ(advice_on("Store-A").front(),
            "ask for io.containerd.content.v1.store-a, if that was meant");
  EXPECT_THAT(advice_on("berth.test.v1.store"),
              Contains("ask for berth.test.v1.Store, if that was meant"));
  EXPECT_THAT(advice_on("quite-another"), Not(Contains(HasSubstr("if that was meant"))));
}

TEST_F(PluginFiles, ADirectoryThatIsNotThereIsAProblem) {
  PluginSource source;
  source.plugin_dir = folder_ + "/absent";
  const auto found = known_plugins(source);
  ASSERT_TRUE(found.ok());
  EXPECT_THAT(graph_text(*found), HasSubstr("absent is not there: make it"));
}

TEST(Daemon, ThatIsNotThereIsNamed) {
  PluginSource source;
  source.address = "/nowhere/berth.sock";
  const auto found = known_plugins(source);
  EXPECT_EQ(found.status().code(), Code::kUnavailable);
  EXPECT_THAT(found.status().message(), HasSubstr("the daemon at /nowhere/berth.sock"));
}

/// tasks -> runtime -> {metadata -> content (skipped), metadata again, events (ready)}.
KnownPlugins chain_of_a_daemon() {
  KnownPlugins known;
  known.from = "the daemon at /run/test.sock";
  known.live = true;
  const auto add = [&](const std::string& type, pb::State state, const std::string& reason) {
    pb::Plugin* plugin = known.list.add_plugins();
    plugin->set_type(type);
    plugin->set_id("x");
    plugin->set_state(state);
    plugin->set_reason(reason);
    return plugin;
  };
  const auto needs = [](pb::Plugin* plugin, const std::string& slot, const std::string& type,
                        bool met) {
    pb::Requirement* need = plugin->add_requirements();
    need->set_slot(slot);
    need->set_type(type);
    need->set_id("x");
    need->add_candidates(type + ".x");
    if (met) need->add_providers(type + ".x");
  };
  add("events", pb::STATE_READY, "");
  add("content", pb::STATE_SKIPPED, "no disk");
  needs(add("metadata", pb::STATE_BLOCKED, "it needs content.x, which is not there: no disk"),
        "content", "content", false);
  pb::Plugin* runtime = add("runtime", pb::STATE_BLOCKED, "it needs content.x, …");
  needs(runtime, "containers", "metadata", false);
  needs(runtime, "images", "metadata", false);
  needs(runtime, "events", "events", true);
  needs(add("tasks", pb::STATE_BLOCKED, "it needs content.x, …"), "runtime", "runtime", false);
  return known;
}

TEST(Why, FollowsTheChainToTheRootCause) {
  const KnownPlugins known = chain_of_a_daemon();
  EXPECT_EQ(explanation_text(known, explain(known, "tasks.x")),
            "tasks.x is blocked\n"
            "  needs, as \"runtime\", runtime.x is blocked\n"
            "    needs, as \"containers, images\", metadata.x is blocked\n"
            "      needs, as \"content\", content.x is skipped: no disk\n"
            "  what to do: give this machine what content.x lacks, or leave it as it is: a skipped "
            "plugin is no error\n"
            "  what to do: then restart berthd\n");
  const auto json = nlohmann::json::parse(explanation_json(known, explain(known, "tasks.x")));
  EXPECT_EQ(json["plugins"][0]["chains"][0].back()["uri"], "content.x");
  EXPECT_EQ(json["plugins"][0]["in"], false);
}

TEST(Why, ANameThatSeveralEndWithIsNotGuessed) {
  const KnownPlugins known = chain_of_a_daemon();
  const auto all = explain(known, "x");
  ASSERT_EQ(all.size(), 1U);
  EXPECT_FALSE(all[0].in);
  EXPECT_EQ(explanation_text(known, all),
            "x is ambiguous: 5 have names that end so\n"
            "  what to do: ask for content.x\n"
            "  what to do: ask for events.x\n"
            "  what to do: ask for metadata.x\n"
            "  what to do: ask for runtime.x\n"
            "  what to do: ask for tasks.x\n");
}

TEST(Why, TellsWhomARootCauseKeepsOut) {
  const auto all = explain(chain_of_a_daemon(), "content.x");
  EXPECT_EQ(all[0].plugin.reason, "no disk");
  EXPECT_THAT(all[0].needed_by, ElementsAre("metadata.x"));
}

/// A daemon's plugin that does not answer, and one that is connected to it.
KnownPlugins unresponsive(const std::string& reason) {
  KnownPlugins known;
  known.live = true;
  pb::Plugin* far = known.list.add_plugins();
  far->set_type("snapshotter");
  far->set_id("far");
  far->set_state(pb::STATE_UNRESPONSIVE);
  far->set_reason(reason);
  pb::Plugin* user = known.list.add_plugins();
  user->set_type("metadata");
  user->set_id("x");
  user->set_state(pb::STATE_READY);
  pb::Requirement* need = user->add_requirements();
  need->set_slot("snapshotters");
  need->add_providers("snapshotter.far");
  need->add_candidates("snapshotter.far");
  return known;
}

TEST(Why, SaysOfEachWayNotToAnswerWhatToDo) {
  KnownPlugins known = unresponsive("the reason");
  pb::Proxy* proxy = known.list.mutable_plugins(0)->mutable_proxy();
  proxy->set_address("/run/far.sock");
  proxy->set_type("snapshot");
  proxy->set_configured_at("/etc/c.toml:3");
  proxy->set_pid(12);
  proxy->set_process_name("snapd");
  proxy->set_reason("the reason");
  proxy->set_contact(pb::CONTACT_NOBODY);
  EXPECT_EQ(
      explanation_text(known, explain(known, "far")),
      "snapshotter.far is unresponsive: the reason\n"
      "  is of another program, reached at /run/far.sock (type \"snapshot\", /etc/c.toml:3)\n"
      "  what to do: start the program that is to listen there; berthd finds it at the next call, "
      "without a restart; or correct the address at /etc/c.toml:3 and restart berthd\n"
      "  used by metadata.x\n");
  const auto advice = [&](pb::Contact contact) {
    proxy->set_contact(contact);
    const auto all = explain(known, "far");
    EXPECT_TRUE(all[0].in);
    EXPECT_EQ(all[0].advice.size(), 1U);
    return all[0].advice.front();
  };
  EXPECT_THAT(advice(pb::CONTACT_SILENT),
              AllOf(HasSubstr("see what process 12 (snapd) does, and restart it if it hangs"),
                    HasSubstr("correct the address at /etc/c.toml:3")));
  proxy->set_stopped(true);
  EXPECT_THAT(advice(pb::CONTACT_SILENT),
              "let it go on, with `kill -CONT 12` or in its debugger; berthd finds it at the next "
              "call, without a restart");
  EXPECT_THAT(advice(pb::CONTACT_FOREIGN), HasSubstr("correct the address at /etc/c.toml:3"));
  EXPECT_THAT(advice(pb::CONTACT_FORBIDDEN), HasSubstr("the socket's owner and mode"));

  proxy->set_contact(pb::CONTACT_ANSWERS);
  proxy->clear_reason();
  known.list.mutable_plugins(0)->set_state(pb::STATE_READY);
  const auto all = explain(known, "far");
  EXPECT_THAT(all[0].advice, IsEmpty());
  EXPECT_THAT(explanation_text(known, all),
              HasSubstr("/etc/c.toml:3); process 12 (snapd) answers there\n"));
  const auto json = nlohmann::json::parse(explanation_json(known, all));
  EXPECT_EQ(json["plugins"][0]["proxy"]["contact"], "answers");
}

TEST(Why, SaysHowAStoppedProcessGoesOn) {
  KnownPlugins known = unresponsive("its process (pid 7) is stopped");
  pb::Process* process = known.list.mutable_plugins(0)->mutable_process();
  process->set_pid(7);
  process->set_hang_timeout_ns(30'000'000'000);
  EXPECT_THAT(explain(known, "far")[0].advice, ElementsAre(HasSubstr("gdb -p 7")));
  process->set_stopped(true);
  const auto all = explain(known, "far");
  EXPECT_THAT(all[0].advice,
              ElementsAre("let it go on, with `kill -CONT 7` or in its debugger; berthd kills it "
                          "and starts it again once it has not answered for 30 s"));
  EXPECT_EQ(nlohmann::json::parse(explanation_json(known, all))["plugins"][0]["process"]["stopped"],
            true);
}

TEST(Why, NamesTheUsedOnesThatDoNotServeNow) {
  KnownPlugins known = unresponsive("nobody listens");
  const auto text = [&] { return explanation_text(known, explain(known, "metadata.x")); };
  EXPECT_EQ(text(),
            "metadata.x is ready\n"
            "  uses snapshotters: snapshotter.far, which is unresponsive\n");
  known.list.mutable_plugins(0)->set_state(pb::STATE_STARTING);
  EXPECT_THAT(text(), HasSubstr("snapshotter.far, which is starting\n"));
  known.list.mutable_plugins(0)->set_state(pb::STATE_READY);
  EXPECT_THAT(text(), HasSubstr("snapshotter.far\n"));
}

TEST(Graph, AnUnresponsivePluginIsInAndSaysWhy) {
  const KnownPlugins known = unresponsive("nobody listens");
  EXPECT_THAT(graph_text(known), HasSubstr("snapshotter.far: unresponsive: nobody listens\n"));
  EXPECT_THAT(graph_dot(known), HasSubstr("[label = \"snapshotter.far (unresponsive)\", color = "
                                          "orange, tooltip = \"nobody listens\"];"));
}

/// What dot makes of it, in one of its formats; nothing where it complains.
std::string read_by_dot(const std::string& graph, const std::string& format) {
  std::string folder = fs::temp_directory_path().string() + "/berth-dot.XXXXXX";
  EXPECT_NE(::mkdtemp(folder.data()), nullptr);
  std::ofstream(folder + "/graph") << graph;
  const std::string command =
      "dot -T" + format + " " + folder + "/graph >" + folder + "/out 2>" + folder + "/errors";
  const auto text_of = [&](const char* name) {
    std::ostringstream text;
    text << std::ifstream(folder + name).rdbuf();
    return text.str();
  };
  EXPECT_EQ(std::system(command.c_str()), 0) << graph;
  EXPECT_EQ(text_of("/errors"), "") << graph;
  const std::string out = text_of("/out");
  fs::remove_all(folder);
  return out;
}

/// The text that is drawn for a node or an edge.
std::string drawn(const nlohmann::json& object) {
  std::string text;
  for (const auto& step : object.at("_ldraw_")) {
    if (step["op"] == "T") text += step["text"].get<std::string>();
  }
  return text;
}

TEST(Graph, IsReadByDotAsItIsMeant) {
  if (std::system("command -v dot >/dev/null") != 0) GTEST_SKIP() << "no dot here (graphviz)";
  KnownPlugins known = unresponsive("\"/run/a\\bc\\\": no &lt;socket&gt;\nat all, <b>ü</b>\\");
  pb::Requirement* need = known.list.mutable_plugins(1)->add_requirements();
  need->set_slot("images");
  need->set_type("content");
  need->set_id("*");
  need->set_service("berth.test.v1.Store");
  need->set_version(">=0.1");
  need->set_unmet(true);
  const std::string wanted = "content.* with berth.test.v1.Store >=0.1";

  const std::string graph = graph_dot(known);
  const auto json = nlohmann::json::parse(read_by_dot(graph, "json"));
  std::vector<std::string> names;
  std::map<std::string, std::string> labels;
  for (const auto& node : json.at("objects")) {
    names.push_back(node["name"]);
    labels[names.back()] = drawn(node);
  }
  EXPECT_EQ(labels, (std::map<std::string, std::string>{
                        {"snapshotter.far", "snapshotter.far (unresponsive)"},
                        {"metadata.x", "metadata.x (ready)"},
                        {wanted, wanted}}));
  std::vector<std::string> edges;
  for (const auto& edge : json.at("edges")) {
    edges.push_back(names.at(edge["tail"]) + " -> " + names.at(edge["head"]) + ": " + drawn(edge) +
                    ", " + edge.value("color", "black"));
  }
  EXPECT_THAT(edges,
              ::testing::UnorderedElementsAre("metadata.x -> snapshotter.far: snapshotters, black",
                                              "metadata.x -> " + wanted + ": images, red"));
  // As XML has it.
  EXPECT_THAT(read_by_dot(graph, "svg"),
              HasSubstr("xlink:title=\"&quot;/run/a\\bc\\&quot;: no &amp;lt;socket&amp;gt; at "
                        "all, &lt;b&gt;ü&lt;/b&gt;\\\""));
}

TEST_F(PluginFiles, AreReadByDotWhereNothingMeetsOne) {
  if (std::system("command -v dot >/dev/null") != 0) GTEST_SKIP() << "no dot here (graphviz)";
  for (const char* name : {"store-a", "undecided", "lonely", "circle-a", "circle-b"}) add(name);
  const KnownPlugins plugins = known();
  size_t nodes = static_cast<size_t>(plugins.list.plugins_size());
  const auto json = nlohmann::json::parse(read_by_dot(graph_dot(plugins), "json"));
  EXPECT_EQ(json["objects"].size(), nodes + 1) << "and one for what nobody has";
}

TEST(Graph, ABlockedPluginDoesNotRepeatAnothersReason) {
  const std::string text = graph_text(chain_of_a_daemon());
  EXPECT_THAT(text, HasSubstr("metadata.x: blocked\n  content (one): none of content.x\n"));
  EXPECT_THAT(text, HasSubstr("content.x: skipped: no disk\n"));
  EXPECT_THAT(text, Not(HasSubstr("which is not there")));
}

}  // namespace
}  // namespace berth::ctl
