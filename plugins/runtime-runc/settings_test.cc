#include "settings.h"

#include "process_record.h"
#include "testing.h"

namespace berth::runtime {
namespace {

TEST(Settings, DurationsAreGos) {
  using namespace std::chrono_literals;
  EXPECT_EQ(*parse_duration("150ms"), 150ms);
  EXPECT_EQ(*parse_duration("1.5s"), 1500ms);
  EXPECT_EQ(*parse_duration("2h45m"), 2h + 45min);
  EXPECT_EQ(*parse_duration("0"), 0ms);
  for (const char* wrong : {"", "5", "s", "5 s", "-1s", "1d", "1e3s"})
    EXPECT_FALSE(parse_duration(wrong).ok()) << wrong;
}

TEST(ProcessRecord, TellsWhatIsLeftToTell) {
  const ProcessRecord record = parse_record(
      "started . 10\nstarted e1 11\nended e1 7 100 5\ntold e1\nstarted e2 12\n"
      "ended . 3 200 0\nsomething new 1\nended nobody 1 1 1\nstarted bad x\ntold .");
  ASSERT_EQ(record.processes.size(), 3u);
  const auto& first = record.processes.at("");
  EXPECT_EQ(first.pid, 10u);
  ASSERT_TRUE(first.end.has_value());
  EXPECT_EQ(first.end->status, 3u);
  EXPECT_EQ(first.end->seconds, 200);
  EXPECT_FALSE(first.told) << "a line without its end does not count";
  EXPECT_TRUE(record.processes.at("e1").told);
  EXPECT_EQ(record.processes.at("e1").end->nanos, 5);
  EXPECT_FALSE(record.processes.at("e2").end.has_value());
  EXPECT_FALSE(record.deleted);
  // An exec's id may be used again.
  const ProcessRecord again =
      parse_record("started e 1\nended e 1 1 1\ntold e\nstarted e 2\ndeleted\n");
  EXPECT_EQ(again.processes.at("e").pid, 2u);
  EXPECT_FALSE(again.processes.at("e").told);
  EXPECT_TRUE(again.deleted);
}

TEST(ProcessRecord, WhatIsToldInThePlaceOfADeadShimIsNoted) {
  const TestFolder folder;
  std::filesystem::create_directory(folder / "state");
  std::filesystem::create_directory(folder / "root");
  const auto bundle = Bundle::create({folder / "state", folder / "root"}, {"ns", "c"}, "{}");
  ASSERT_TRUE(bundle.ok());
  EXPECT_FALSE(read_record(*bundle).has_value());
  ASSERT_TRUE(bundle->write("processes", "started . 10\nstarted e1 11\n").ok());
  ASSERT_TRUE(note_told(*bundle, "").ok());
  ASSERT_TRUE(note_told(*bundle, "", true).ok());
  const auto record = read_record(*bundle);
  ASSERT_TRUE(record.has_value());
  EXPECT_TRUE(record->processes.at("").told);
  EXPECT_FALSE(record->processes.at("e1").told);
  EXPECT_TRUE(record->deleted);
}

TEST(Settings, AreReadFromTheConfiguration) {
  const std::map<std::string, std::string, std::less<>> config = {
      {"shim_path", R"(["/opt/shims"])"},
      {"env", R"(["A=b"])"},
      {"sched_core", "true"},
      {"state_timeout", "5s"}};
  const auto get = [](const auto& map) {
    return [&map](std::string_view key) -> std::string_view {
      const auto found = map.find(key);
      return found == map.end() ? std::string_view() : std::string_view(found->second);
    };
  };
  const std::map<std::string, std::string, std::less<>> properties = {{"state", "/run/x"},
                                                                      {"root", "/var/x"}};
  const auto settings = read_settings(get(config), get(properties));
  ASSERT_TRUE(settings.ok()) << settings.status().to_string();
  EXPECT_EQ(settings->roots.state, "/run/x");
  EXPECT_EQ(settings->launcher.shim_path, std::vector<std::string>{"/opt/shims"});
  EXPECT_EQ(settings->launcher.environment, (std::vector<std::string>{"A=b", "SCHED_CORE=1"}));
  EXPECT_EQ(settings->timeouts.state, std::chrono::seconds(5));
  EXPECT_EQ(settings->direct_runtimes, (std::vector<std::string>{"runc 1.1", "crun 1.8"}));
  const std::map<std::string, std::string, std::less<>> none = {{"direct_runtimes", "[]"}};
  EXPECT_TRUE(read_settings(get(none), get(properties))->direct_runtimes.empty());
  const std::map<std::string, std::string, std::less<>> wrong = {
      {"direct_runtimes", R"(["runc 1.1","runc"])"}};
  const auto refused = read_settings(get(wrong), get(properties));
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.status().message().find("direct_runtimes"), std::string::npos);
  EXPECT_NE(refused.status().message().find("\"runc\""), std::string::npos);
  const std::map<std::string, std::string, std::less<>> broken = {{"start_timeout", "soon"}};
  EXPECT_NE(read_settings(get(broken), get(properties)).status().message().find("start_timeout"),
            std::string::npos);
}

}  // namespace
}  // namespace berth::runtime
