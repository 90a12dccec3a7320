#include "bootstrap.h"

#include <gtest/gtest.h>

#include <array>

#include "bundle.h"
#include "cgroup.h"
#include "containerd/types/runc/options/oci.pb.h"
#include "mounts.h"
#include "spec.h"
#include "wire.h"

namespace berth::shim {
namespace {

template <size_t N>
Result<Arguments> parsed(std::array<const char*, N> words) {
  return parse_arguments(std::span(const_cast<char* const*>(words.data()), N));
}

TEST(ArgumentsTest, TakesTheCommandLinesOfDaemons) {
  const auto start =
      parsed(std::array{"-namespace", "ns", "-address", "/run/d.sock", "-publish-binary", "/bin/d",
                        "-id", "c1", "-debug", "start", "-bundle", "after the action"});
  ASSERT_TRUE(start.ok()) << start.status().to_string();
  EXPECT_EQ(start->ns, "ns");
  EXPECT_EQ(start->address, "/run/d.sock");
  EXPECT_EQ(start->id, "c1");
  EXPECT_TRUE(start->debug);
  EXPECT_EQ(start->action, "start");
  EXPECT_EQ(start->bundle, "");
  const auto other =
      parsed(std::array{"--namespace=a=b", "--debug=false", "-bundle", "/b", "delete"});
  ASSERT_TRUE(other.ok());
  EXPECT_EQ(other->ns, "a=b");
  EXPECT_FALSE(other->debug);
  EXPECT_EQ(other->bundle, "/b");
}

TEST(ArgumentsTest, NamesWhatItDoesNotKnow) {
  const auto unknown = parsed(std::array{"-nonsense"});
  EXPECT_EQ(unknown.status().message(), "flag provided but not defined: -nonsense");
  EXPECT_FALSE(parsed(std::array{"-id"}).ok());
}

TEST(BootstrapTest, SocketIsNamedByTheDigestOfAddressNamespaceAndId) {
  // sha256 of "/run/containerd/containerd.sock/default/c1"
  const std::string wanted =
      "/run/containerd/s/"
      "d25aa4ef11a84e954e74a5bcff06557d0b6ea8d0c00243896f29826694bbd888";
  EXPECT_EQ(socket_path("/run/containerd/containerd.sock", "default", "c1"), wanted);
  EXPECT_EQ(socket_path("/run//containerd/x/../containerd.sock", "default", "c1"), wanted);
  EXPECT_NE(socket_path("/run/containerd/containerd.sock", "default", "c2"), wanted);
}

Arguments container() {
  Arguments out;
  out.id = "c1";
  out.ns = "ns";
  return out;
}

TEST(BootstrapTest, AnswersAsTheDaemonUnderstands) {
  const std::string address = "unix:///s";
  EXPECT_EQ(start_answer(read_start_request("", "", container()), address), address);
  EXPECT_EQ(start_answer(read_start_request("", "2", container()), address), address);
  EXPECT_EQ(start_answer(read_start_request("", "3", container()), address),
            R"({"version":3,"address":"unix:///s","protocol":"ttrpc"})");
  std::string params;
  put_text(1, "c1", &params);
  put_text(2, "ns", &params);
  const std::string message = start_answer(read_start_request(params, "", container()), address);
  EXPECT_EQ(find_bytes(message, 2), address);
  EXPECT_EQ(find_bytes(message, 3), "ttrpc");
}

TEST(BootstrapTest, FindsTheOptionsInBothKindsOfInput) {
  std::string any;
  put_text(1, "containerd.runc.v1.Options", &any);
  put_text(2, "value", &any);
  const StartRequest plain = read_start_request(any, "3", container());
  EXPECT_EQ(plain.form, AnswerForm::kJson);
  EXPECT_EQ(plain.options_type, "containerd.runc.v1.Options");
  EXPECT_EQ(plain.options, "value");
  std::string params;
  put_text(1, "c1", &params);
  put_text(2, "ns", &params);
  std::string extension;
  put_text(1, any, &extension);
  put_text(8, extension, &params);
  const StartRequest wrapped = read_start_request(params, "", container());
  EXPECT_EQ(wrapped.form, AnswerForm::kMessage);
  EXPECT_EQ(wrapped.options_type, "containerd.runc.v1.Options");
  EXPECT_EQ(wrapped.options, "value");
}

TEST(BundleTest, ReadsRuncsOptionsAndNoOthers) {
  containerd::runc::v1::Options message;
  message.set_binary_name("/opt/crun");
  message.set_systemd_cgroup(true);
  const auto options =
      parse_options("types.x/containerd.runc.v1.Options", message.SerializeAsString());
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->binary, "/opt/crun");
  EXPECT_EQ(options->root, "/run/containerd/runc");
  EXPECT_TRUE(options->systemd_cgroup);
  const auto others = parse_options("some.other.Options", "\xff\xff");
  ASSERT_TRUE(others.ok());
  EXPECT_EQ(others->binary, "runc");
  EXPECT_EQ(parse_options("containerd.runc.v1.Options", "\xff\xff").status().code(),
            Code::kInvalidArgument);
}

TEST(SpecTest, FindsGroupAndNamespace) {
  const auto pod = read_spec(R"({"annotations":{"io.kubernetes.cri.sandbox-id":"pod"},
      "process":{"args":["annotations"]},
      "linux":{"namespaces":[{"type":"mount"},{"type":"pid"}]}})");
  ASSERT_TRUE(pod.ok());
  EXPECT_EQ(pod->group, "pod");
  EXPECT_TRUE(pod->own_pid_namespace);
  EXPECT_EQ(read_spec(R"({"linux":{"cgroupsPath":"/a/b"},"cgroupsPath":"/c"})")->cgroups_path,
            "/a/b");
  const auto joined = read_spec(R"({"annotations":{"io.containerd.runc.v2.group":"g",
      "io.kubernetes.cri.sandbox-id":"pod"},
      "linux":{"namespaces":[{"type":"pid","path":"/proc/1/ns/pid"},{"type":"ipc"}]}})");
  ASSERT_TRUE(joined.ok());
  EXPECT_EQ(joined->group, "g");
  EXPECT_FALSE(joined->own_pid_namespace);
  EXPECT_FALSE(read_spec("{\"annotations\":").ok());
}

TEST(SpecTest, TakesTheLastErrorOfALog) {
  EXPECT_EQ(last_error("{\"level\":\"warning\",\"msg\":\"w\"}\nno json\n"
                       "{\"level\":\"error\",\"msg\":\"first\"}\n"
                       "{\"level\":\"error\",\"msg\":\"second\"}\n"),
            "second");
  EXPECT_EQ(last_error(""), "");
}

TEST(MountsTest, WordsBecomeFlagsAndTheRestData) {
  const auto call =
      mount_call({"overlay", "overlay", "", {"ro", "nosuid", "rw", "lowerdir=/a:/b"}});
  ASSERT_TRUE(call.ok());
  EXPECT_EQ(call->flags, 2ul);  // MS_NOSUID
  EXPECT_EQ(call->data, "lowerdir=/a:/b");
  EXPECT_FALSE(call->loop);
  const auto looped = mount_call({"ext4", "/x.img", "", {"loop", "ro"}});
  ASSERT_TRUE(looped.ok());
  EXPECT_TRUE(looped->loop);
  EXPECT_EQ(looped->data, "");
}

TEST(MountsTest, LongListsOfLayersAreShortened) {
  const std::string folder = "/var/lib/somewhere/deep/snapshots/";
  std::string lower = "lowerdir=";
  for (int i = 0; i < 120; ++i) lower += (i > 0 ? ":" : "") + folder + std::to_string(i) + "/fs";
  ASSERT_GT(lower.size(), 4096u);
  const auto call = mount_call({"overlay", "overlay", "", {lower}});
  ASSERT_TRUE(call.ok()) << call.status().to_string();
  EXPECT_EQ(call->directory, folder);
  EXPECT_TRUE(call->data.starts_with("lowerdir=0/fs:1/fs:")) << call->data.substr(0, 60);
  EXPECT_FALSE(mount_call({"overlay", "overlay", "", {std::string(5000, 'x')}}).ok());
}

TEST(CgroupTest, ReadsBothVersions) {
  const Cgroup one =
      parse_cgroup("7:cpu,cpuacct:/a/b\n3:memory:/a/b\n1:name=systemd:/s\n0::/u\n", false);
  EXPECT_EQ(one.unified, "");
  EXPECT_EQ(one.controllers.at("cpuacct"), "/sys/fs/cgroup/cpuacct/a/b");
  EXPECT_EQ(one.processes_folder(), "/sys/fs/cgroup/memory/a/b");
  EXPECT_EQ(parse_cgroup("0::/u/v\n", true).unified, "/sys/fs/cgroup/u/v");
}

}  // namespace
}  // namespace berth::shim
