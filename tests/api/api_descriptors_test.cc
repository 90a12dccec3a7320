// The descriptors in libberth-api.so against those of containerd's own protocol files, where a
// package has them on this machine: BERTH_CONTAINERD_PROTO_DIR, or the place where Debian's
// golang-github-containerd-containerd-api-dev puts them.
#include <gmock/gmock.h>
#include <google/protobuf/compiler/importer.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "containerd/types/mount.pb.h"
#include "ttrpc/ttrpc.pb.h"
#include "wire_elements.h"

namespace {

namespace fs = std::filesystem;
namespace pb = google::protobuf;
using berth::api_test::add_elements;
using berth::api_test::differences;
using berth::api_test::WireElements;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr char kImportRoot[] = "github.com/containerd/containerd/api";

/// Options for Go's event filters; nothing of it is ever sent.
constexpr char kNotCarried[] = "types/fieldpath.proto";

/// Of containerd 2.2; a package of 2.1 lacks them, one of 2.2 is compared.
const std::vector<std::string> kNewerThan21 = {"containerd.services.mounts.v1",
                                               "containerd.types.ActiveMount",
                                               "containerd.types.ActivationInfo"};

fs::path containerd_protos() {
  const char* configured = std::getenv("BERTH_CONTAINERD_PROTO_DIR");
  if (configured != nullptr && *configured != '\0') return configured;
  return fs::path("/usr/share/gocode/src") / kImportRoot;
}

pb::FileDescriptorSet shipped_descriptors() {
  pb::FileDescriptorSet set;
  std::ifstream in(BERTH_API_DESCRIPTORS, std::ios::binary);
  EXPECT_TRUE(set.ParseFromIstream(&in))
      << BERTH_API_DESCRIPTORS << " cannot be read as a FileDescriptorSet";
  return set;
}

/// The elements below containerd/ as compiled into the library.
WireElements our_elements() {
  // Named so that the linker keeps the library.
  const pb::DescriptorPool* pool = containerd::types::Mount::descriptor()->file()->pool();
  WireElements elements;
  const pb::FileDescriptorSet set = shipped_descriptors();
  for (const pb::FileDescriptorProto& shipped : set.file()) {
    if (!shipped.name().starts_with("containerd/")) continue;
    const pb::FileDescriptor* file = pool->FindFileByName(shipped.name());
    EXPECT_NE(file, nullptr) << shipped.name() << " is in berth-api.desc but not in the library";
    if (file != nullptr) add_elements(*file, &elements);
  }
  return elements;
}

/// protoc's own parser in this process, with the import tree that containerd's files expect.
class ContainerdFiles : public pb::compiler::MultiFileErrorCollector {
 public:
  explicit ContainerdFiles(const fs::path& directory)
      : directory_(directory), importer_(&tree_, this) {
    tree_.MapPath(kImportRoot, directory.string());
    tree_.MapPath("google/protobuf", std::string(BERTH_PROTOBUF_INCLUDE_DIR) + "/google/protobuf");
    tree_.MapPath("google/rpc", std::string(BERTH_API_DIR) + "/google/rpc");
  }

  std::vector<const pb::FileDescriptor*> import_all() {
    std::vector<const pb::FileDescriptor*> files;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(directory_)) {
      if (entry.path().extension() != ".proto") continue;
      const std::string name = fs::relative(entry.path(), directory_).generic_string();
      if (name == kNotCarried) continue;
      const pb::FileDescriptor* file = importer_.Import(std::string(kImportRoot) + "/" + name);
      EXPECT_NE(file, nullptr) << name << " cannot be compiled";
      if (file != nullptr) files.push_back(file);
    }
    return files;
  }

  void AddError(const std::string& file, int line, int, const std::string& text) override {
    ADD_FAILURE() << file << ":" << line + 1 << ": " << text;
  }

 private:
  fs::path directory_;
  pb::compiler::DiskSourceTree tree_;
  pb::compiler::Importer importer_;
};

/// Takes out of `ours` what containerd 2.2 added, unless `theirs` has it as well.
void drop_newer(const WireElements& theirs, WireElements* ours) {
  for (const std::string& newer : kNewerThan21) {
    const auto about = [&](const auto& element) {
      const std::string name = element.first.substr(element.first.rfind(' ') + 1);
      return name == newer || name.starts_with(newer + ".");
    };
    if (std::any_of(theirs.begin(), theirs.end(), about)) continue;
    std::erase_if(*ours, about);
  }
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += "\n  " + line;
  return text;
}

TEST(ApiDescriptors, AgreeWithContainerd) {
  const fs::path directory = containerd_protos();
  std::error_code error;
  if (!fs::is_directory(directory, error)) {
    GTEST_SKIP()
        << directory
        << " is not there; install golang-github-containerd-containerd-api-dev or name its api "
        << "folder in BERTH_CONTAINERD_PROTO_DIR";
  }
  ContainerdFiles containerd(directory);
  const std::vector<const pb::FileDescriptor*> files = containerd.import_all();
  ASSERT_GE(files.size(), 35u) << directory << " does not look like containerd's api folder";
  WireElements theirs;
  for (const pb::FileDescriptor* file : files) add_elements(*file, &theirs);
  WireElements ours = our_elements();
  drop_newer(theirs, &ours);
  EXPECT_GT(ours.size(), 800u);
  const std::vector<std::string> lines = differences(ours, theirs);
  EXPECT_TRUE(lines.empty()) << lines.size() << " differences:" << joined(lines);
}

TEST(ApiDescriptors, LibraryAndDescriptorFileAreTheSame) {
  const pb::DescriptorPool* pool = containerd::types::Mount::descriptor()->file()->pool();
  const pb::FileDescriptorSet set = shipped_descriptors();
  for (const pb::FileDescriptorProto& shipped : set.file()) {
    if (shipped.name().starts_with("google/protobuf/")) continue;
    const pb::FileDescriptor* file = pool->FindFileByName(shipped.name());
    ASSERT_NE(file, nullptr) << shipped.name();
    pb::FileDescriptorProto compiled;
    file->CopyTo(&compiled);
    file->CopyJsonNameTo(&compiled);
    EXPECT_EQ(compiled.SerializeAsString(), shipped.SerializeAsString()) << shipped.name();
  }
}

// Our accessor is called requires_(), the field must not be.
TEST(ApiDescriptors, KeywordFieldKeepsItsName) {
  const WireElements ours = our_elements();
  EXPECT_EQ(ours.at("field containerd.services.introspection.v1.Plugin.requires"),
            "number 3, repeated string, JSON name requires");
  EXPECT_EQ(ours.count("field containerd.services.introspection.v1.Plugin.requires_"), 0u);
}

// The envelope is written by every shim there is: bytes as they have to be.
TEST(ApiDescriptors, TtrpcRequestBytes) {
  ttrpc::Request request;
  request.set_service("s");
  request.set_method("m");
  request.set_payload("p");
  request.set_timeout_nano(1);
  ttrpc::KeyValue* metadata = request.add_metadata();
  metadata->set_key("k");
  metadata->set_value("v");
  EXPECT_EQ(request.SerializeAsString(),
            "\x0a\x01s\x12\x01m\x1a\x01p\x20\x01\x2a\x06\x0a\x01k\x12\x01v");

  ttrpc::Response response;
  response.mutable_status()->set_code(5);
  response.mutable_status()->set_message("x");
  response.set_payload("p");
  EXPECT_EQ(response.SerializeAsString(), "\x0a\x05\x08\x05\x12\x01x\x12\x01p");
}

/// The comparison itself must notice each kind of change.
class Differences : public ::testing::Test {
 protected:
  void SetUp() override {
    proto_.set_name("p.proto");
    proto_.set_package("p");
    proto_.set_syntax("proto3");
    pb::DescriptorProto* message = proto_.add_message_type();
    message->set_name("M");
    pb::FieldDescriptorProto* field = message->add_field();
    field->set_name("a_field");
    field->set_number(1);
    field->set_type(pb::FieldDescriptorProto::TYPE_INT64);
    field->set_label(pb::FieldDescriptorProto::LABEL_OPTIONAL);
    pb::EnumDescriptorProto* kind = proto_.add_enum_type();
    kind->set_name("E");
    pb::EnumValueDescriptorProto* zero = kind->add_value();
    zero->set_name("ZERO");
    zero->set_number(0);
    pb::MethodDescriptorProto* method = proto_.add_service()->add_method();
    proto_.mutable_service(0)->set_name("S");
    method->set_name("Get");
    method->set_input_type(".p.M");
    method->set_output_type(".p.M");
    before_ = elements();
  }

  WireElements elements() const {
    pb::DescriptorPool pool;
    const pb::FileDescriptor* file = pool.BuildFile(proto_);
    EXPECT_NE(file, nullptr);
    WireElements result;
    if (file != nullptr) add_elements(*file, &result);
    return result;
  }

  pb::FieldDescriptorProto* field() { return proto_.mutable_message_type(0)->mutable_field(0); }

  pb::FileDescriptorProto proto_;
  WireElements before_;
};

TEST_F(Differences, NoneInTheSameFile) { EXPECT_THAT(differences(before_, elements()), IsEmpty()); }

TEST_F(Differences, FieldNumber) {
  field()->set_number(2);
  EXPECT_THAT(differences(before_, elements()),
              ElementsAre("field p.M.a_field: number 1, single int64, JSON name aField; there it "
                          "is: number 2, single "
                          "int64, JSON name aField"));
}

TEST_F(Differences, FieldTypeLabelPackingAndJsonName) {
  field()->set_type(pb::FieldDescriptorProto::TYPE_SINT64);
  EXPECT_EQ(differences(before_, elements()).size(), 1u);
  field()->set_type(pb::FieldDescriptorProto::TYPE_INT64);
  field()->set_json_name("other");
  EXPECT_EQ(differences(before_, elements()).size(), 1u);
  field()->clear_json_name();
  field()->set_label(pb::FieldDescriptorProto::LABEL_REPEATED);
  const WireElements packed = elements();
  EXPECT_EQ(differences(before_, packed).size(), 1u);
  field()->mutable_options()->set_packed(false);
  EXPECT_EQ(differences(packed, elements()).size(), 1u);
}

TEST_F(Differences, MissingOnEitherSide) {
  proto_.mutable_message_type(0)->clear_field();
  EXPECT_THAT(
      differences(before_, elements()),
      ElementsAre("field p.M.a_field: only here: number 1, single int64, JSON name aField"));
  EXPECT_THAT(differences(elements(), before_),
              ElementsAre("field p.M.a_field: missing here; there it is: number 1, single int64, "
                          "JSON name aField"));
}

TEST_F(Differences, EnumValueAndStreaming) {
  proto_.mutable_enum_type(0)->mutable_value(0)->set_name("NULL");
  EXPECT_EQ(differences(before_, elements()).size(), 2u);
  proto_.mutable_enum_type(0)->mutable_value(0)->set_name("ZERO");
  proto_.mutable_service(0)->mutable_method(0)->set_server_streaming(true);
  EXPECT_THAT(differences(before_, elements()),
              ElementsAre("method p.S.Get: p.M to p.M; there it is: p.M to stream of p.M"));
}

}  // namespace
