#include <google/protobuf/util/message_differencer.h>

#include "fixture.h"
#include "record.h"

namespace berth::metadata {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(Identifier, AsContainerdsPattern) {
  for (const char* good : {"a", "A9", "a.b_c-d", "0"}) {
    EXPECT_TRUE(validate_identifier(good).ok()) << good;
  }
  for (const char* bad : {"", ".a", "a.", "a..b", "a/b", "a b", "a-_b", "é", ".."}) {
    EXPECT_EQ(validate_identifier(bad).code(), Code::kInvalidArgument) << bad;
  }
  EXPECT_TRUE(validate_identifier(std::string(76, 'a')).ok());
  EXPECT_FALSE(validate_identifier(std::string(77, 'a')).ok());
}

TEST(LabelRules, LimitAndForm) {
  Labels labels;
  labels["k"] = std::string(4095, 'v');
  EXPECT_TRUE(validate_labels(labels, "x").ok());
  labels["k"] += 'v';
  EXPECT_EQ(validate_labels(labels, "x").code(), Code::kInvalidArgument);
  Labels odd;
  odd["\"q\"\n"] = "{\\}\xC3\xA9";
  odd["empty"] = "";
  Labels back;
  ASSERT_TRUE(decode_labels(encode_labels(odd), &back).ok());
  EXPECT_EQ(back.size(), 1U);
  EXPECT_EQ(back["\"q\"\n"], "{\\}\xC3\xA9");
  EXPECT_EQ(decode_labels("[]", &back).code(), Code::kDataLoss);
}

TEST(Rfc3339, ReadsWhatGoWrites) {
  EXPECT_EQ(parse_rfc3339("1970-01-01T00:00:01Z"), kNanosPerSecond);
  EXPECT_EQ(parse_rfc3339("1970-01-01T01:00:00.5+01:00"), kNanosPerSecond / 2);
  EXPECT_FALSE(parse_rfc3339("tomorrow").has_value());
  EXPECT_FALSE(parse_rfc3339("9999-01-01T00:00:00Z").has_value());
}

class NamespacesTest : public MetadataTest {
 protected:
  using Response = containerd::services::namespaces::v1::GetNamespaceResponse;
  Status update(const std::string& name, const Labels& labels,
                const std::vector<std::string>& mask) {
    containerd::services::namespaces::v1::UpdateNamespaceRequest request;
    request.mutable_namespace_()->set_name(name);
    *request.mutable_namespace_()->mutable_labels() = labels;
    for (const auto& path : mask) request.mutable_update_mask()->add_paths(path);
    containerd::services::namespaces::v1::UpdateNamespaceResponse response;
    Context context;
    return namespaces_->Update(context, request, &response);
  }
  Labels labels_of(const std::string& name) {
    containerd::services::namespaces::v1::GetNamespaceRequest request;
    request.set_name(name);
    Response response;
    Context context;
    EXPECT_TRUE(namespaces_->Get(context, request, &response).ok());
    return response.namespace_().labels();
  }
  Status remove(const std::string& name) {
    containerd::services::namespaces::v1::DeleteNamespaceRequest request;
    request.set_name(name);
    google::protobuf::Empty empty;
    Context context;
    return namespaces_->Delete(context, request, &empty);
  }
};

TEST_F(NamespacesTest, UpdateMakesAndMasks) {
  Labels labels;
  labels["a"] = "1";
  labels["b"] = "2";
  ASSERT_TRUE(update("n", labels, {}).ok());
  EXPECT_EQ(labels_of("n").size(), 2U);
  Labels change;
  change["a"] = "3";
  ASSERT_TRUE(update("n", change, {"labels.a", "labels.b"}).ok());
  EXPECT_EQ(labels_of("n").at("a"), "3");
  EXPECT_EQ(labels_of("n").count("b"), 0U);
  EXPECT_EQ(update("n", change, {"name"}).code(), Code::kInvalidArgument);
  EXPECT_THAT(labels_of("unknown"), IsEmpty());
}

TEST_F(NamespacesTest, OnlyAnEmptyOneIsDeleted) {
  ASSERT_TRUE(write_blob(in("n"), "x").ok());
  ASSERT_TRUE(prepare("s", "", {}, in("n")).ok());
  const Status refused = remove("n");
  EXPECT_EQ(refused.code(), Code::kFailedPrecondition);
  EXPECT_THAT(refused.message(), HasSubstr("blobs, snapshots on \"fake\" snapshotter"));
  collect();
  EXPECT_TRUE(remove("n").ok());
  EXPECT_EQ(remove("n").code(), Code::kNotFound);
}

class ContainersTest : public MetadataTest {
 protected:
  using Container = containerd::services::containers::v1::Container;
  Result<Container> get(const std::string& id) {
    containerd::services::containers::v1::GetContainerRequest request;
    request.set_id(id);
    containerd::services::containers::v1::GetContainerResponse response;
    Context context = in("default");
    BERTH_RETURN_IF_ERROR(containers_->Get(context, request, &response));
    return response.container();
  }
  Status update(const Container& container, const std::vector<std::string>& mask) {
    containerd::services::containers::v1::UpdateContainerRequest request;
    *request.mutable_container() = container;
    for (const auto& path : mask) request.mutable_update_mask()->add_paths(path);
    containerd::services::containers::v1::UpdateContainerResponse response;
    Context context = in("default");
    return containers_->Update(context, request, &response);
  }
  std::vector<std::string> list(const std::string& filter) {
    containerd::services::containers::v1::ListContainersRequest request;
    if (!filter.empty()) request.add_filters(filter);
    Containers::Wire wire;
    const Status status = containers_->walk(in("default"), request, &wire, [] { return Status(); });
    EXPECT_TRUE(status.ok()) << status.to_string();
    containerd::services::containers::v1::ListContainersResponse all;
    EXPECT_TRUE(all.ParseFromString(wire.bytes));
    EXPECT_EQ(static_cast<size_t>(all.containers_size()), wire.ends.size());
    std::vector<std::string> ids;
    size_t begin = 0;
    for (const size_t end : wire.ends) {  // each by itself is one message of the stream
      containerd::services::containers::v1::ListContainerMessage one;
      EXPECT_TRUE(one.ParseFromString(wire.bytes.substr(begin, end - begin)));
      const auto stored = get(one.container().id());
      EXPECT_TRUE(stored.ok() &&
                  google::protobuf::util::MessageDifferencer::Equals(*stored, one.container()));
      ids.push_back(one.container().id());
      begin = end;
    }
    return ids;
  }
};

TEST_F(ContainersTest, ComesBackAsItWas) {
  containerd::services::containers::v1::CreateContainerRequest request;
  Container* container = request.mutable_container();
  container->set_id("c");
  container->set_image("i");
  container->set_sandbox("sb");
  container->mutable_runtime()->set_name("io.containerd.runc.v2");
  container->mutable_runtime()->mutable_options()->set_type_url("o");
  container->mutable_runtime()->mutable_options()->set_value(std::string("\0\xff", 2));
  container->mutable_spec()->set_type_url("s");
  container->mutable_spec()->set_value(std::string("a\0b", 3));
  (*container->mutable_extensions())["e"].set_value("x");
  (*container->mutable_labels())["l"] = "v";
  containerd::services::containers::v1::CreateContainerResponse response;
  Context context = in("default");
  ASSERT_TRUE(containers_->Create(context, request, &response).ok());
  const auto back = get("c");
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->DebugString(), response.container().DebugString());
  EXPECT_EQ(back->spec().value(), std::string("a\0b", 3));
  EXPECT_THAT(list(""), ElementsAre("c"));
  const Status twice = containers_->Create(context, request, &response);
  EXPECT_EQ(twice.code(), Code::kAlreadyExists);
  EXPECT_THAT(twice.message(), HasSubstr("container \"c\": already exists"));
}

TEST_F(ContainersTest, IsSeenInItsNamespaceOnly) {
  ASSERT_TRUE(create_container("c", "").ok());
  containerd::services::containers::v1::GetContainerRequest request;
  request.set_id("c");
  containerd::services::containers::v1::GetContainerResponse response;
  Context other = in("other");
  const Status status = containers_->Get(other, request, &response);
  EXPECT_EQ(status.code(), Code::kNotFound);
  EXPECT_EQ(status.message(), "container \"c\" in namespace \"other\": not found");
  Context none;
  EXPECT_EQ(containers_->Get(none, request, &response).code(), Code::kFailedPrecondition);
}

TEST_F(ContainersTest, RefusesWhatContainerdRefuses) {
  EXPECT_EQ(create_container("a/b", "").code(), Code::kInvalidArgument);
  containerd::services::containers::v1::CreateContainerRequest request;
  containerd::services::containers::v1::CreateContainerResponse response;
  Context context = in("default");
  request.mutable_container()->set_id("c");
  EXPECT_EQ(containers_->Create(context, request, &response).code(), Code::kInvalidArgument);
  request.mutable_container()->mutable_runtime()->set_name("r");
  EXPECT_EQ(containers_->Create(context, request, &response).code(), Code::kInvalidArgument);
  request.mutable_container()->mutable_spec()->set_type_url("s");
  request.mutable_container()->set_snapshot_key("k");
  EXPECT_EQ(containers_->Create(context, request, &response).code(), Code::kInvalidArgument);
  request.mutable_container()->set_snapshotter("fake");
  EXPECT_TRUE(containers_->Create(context, request, &response).ok());
}

TEST_F(ContainersTest, UpdatesByMask) {
  Labels labels;
  labels["a"] = "1";
  labels["b"] = "2";
  ASSERT_TRUE(create_container("c", "", labels).ok());
  auto container = *get("c");
  (*container.mutable_labels())["a"] = "9";
  (*container.mutable_labels())["b"] = "9";
  container.set_image("new");
  (*container.mutable_extensions())["x"].set_value("y");
  ASSERT_TRUE(update(container, {"labels.a", "extensions.x"}).ok());
  EXPECT_EQ(get("c")->labels().at("a"), "9");
  EXPECT_EQ(get("c")->labels().at("b"), "2");
  EXPECT_EQ(get("c")->image(), "");
  EXPECT_EQ(get("c")->extensions().at("x").value(), "y");
  EXPECT_EQ(update(container, {"id"}).code(), Code::kInvalidArgument);
  EXPECT_EQ(update(container, {"runtime.name"}).code(), Code::kInvalidArgument);

  ASSERT_TRUE(update(container, {}).ok());  // all that may change
  EXPECT_EQ(get("c")->image(), "new");
  container.mutable_runtime()->set_name("other");
  const Status immutable = update(container, {});
  EXPECT_EQ(immutable.code(), Code::kInvalidArgument);
  EXPECT_THAT(immutable.message(), HasSubstr("Runtime.Name field is immutable"));
  container.set_id("nobody");
  EXPECT_EQ(update(container, {}).code(), Code::kNotFound);
}

TEST_F(ContainersTest, ListsByFilterAcrossPortions) {
  Labels odd;
  odd["n"] = "odd";
  for (int i = 0; i < 300; ++i) {
    char id[8];
    std::snprintf(id, sizeof id, "c%03d", i);
    ASSERT_TRUE(create_container(id, "", i % 2 == 1 ? odd : Labels()).ok());
  }
  EXPECT_EQ(list("").size(), 300U);
  EXPECT_EQ(list("labels.n==odd").size(), 150U);
  EXPECT_THAT(list("id==c007"), ElementsAre("c007"));
  EXPECT_EQ(list("runtime.name==runc").size(), 300U);
}

class ImagesTest : public MetadataTest {
 protected:
  using Image = containerd::services::images::v1::Image;
  Result<Image> get(const std::string& name) {
    containerd::services::images::v1::GetImageRequest request;
    request.set_name(name);
    containerd::services::images::v1::GetImageResponse response;
    Context context = in("default");
    BERTH_RETURN_IF_ERROR(images_->Get(context, request, &response));
    return response.image();
  }
  Status update(const Image& image, const std::vector<std::string>& mask) {
    containerd::services::images::v1::UpdateImageRequest request;
    *request.mutable_image() = image;
    for (const auto& path : mask) request.mutable_update_mask()->add_paths(path);
    containerd::services::images::v1::UpdateImageResponse response;
    Context context = in("default");
    return images_->Update(context, request, &response);
  }
};

TEST_F(ImagesTest, CodesThatClientsBranchOn) {
  EXPECT_EQ(get("i").status().code(), Code::kNotFound);
  Image image;
  image.set_name("i");
  image.mutable_target()->set_digest(digest("x"));
  image.mutable_target()->set_media_type("m");
  image.mutable_target()->set_size(1);
  EXPECT_EQ(update(image, {}).code(), Code::kNotFound);  // clients then create it
  ASSERT_TRUE(create_image("i", digest("x")).ok());
  EXPECT_EQ(create_image("i", digest("x")).code(), Code::kAlreadyExists);
  EXPECT_EQ(create_image("j", "sha256:12").code(), Code::kInvalidArgument);
  EXPECT_EQ(create_image("", digest("x")).code(), Code::kInvalidArgument);
  EXPECT_TRUE(delete_image("i").ok());
  EXPECT_EQ(delete_image("i").code(), Code::kNotFound);
}

TEST_F(ImagesTest, UpdatesByMask) {
  Labels labels;
  labels["a"] = "1";
  ASSERT_TRUE(create_image("i", digest("x"), labels).ok());
  Image image = *get("i");
  image.mutable_target()->set_digest(digest("y"));
  (*image.mutable_target()->mutable_annotations())["n"] = "v";
  image.clear_labels();
  ASSERT_TRUE(update(image, {"annotations.n"}).ok());
  EXPECT_EQ(get("i")->target().digest(), digest("x"));
  EXPECT_EQ(get("i")->target().annotations().at("n"), "v");
  ASSERT_TRUE(update(image, {"target"}).ok());
  EXPECT_EQ(get("i")->target().digest(), digest("y"));
  EXPECT_EQ(get("i")->labels().size(), 1U);
  ASSERT_TRUE(update(image, {}).ok());
  EXPECT_THAT(get("i")->labels(), IsEmpty());
  EXPECT_EQ(update(image, {"size"}).code(), Code::kInvalidArgument);
}

TEST_F(ImagesTest, DeletesOnlyTheExpectedTarget) {
  ASSERT_TRUE(create_image("i", digest("x")).ok());
  containerd::services::images::v1::DeleteImageRequest request;
  request.set_name("i");
  request.mutable_target()->set_digest(digest("y"));
  google::protobuf::Empty empty;
  Context context = in("default");
  EXPECT_EQ(images_->Delete(context, request, &empty).code(), Code::kNotFound);
  request.mutable_target()->set_digest(digest("x"));
  EXPECT_TRUE(images_->Delete(context, request, &empty).ok());
}

class LeasesTest : public MetadataTest {
 protected:
  std::vector<std::string> resources(const std::string& id) {
    containerd::services::leases::v1::ListResourcesRequest request;
    request.set_id(id);
    containerd::services::leases::v1::ListResourcesResponse response;
    Context context = in("default");
    EXPECT_TRUE(leases_->ListResources(context, request, &response).ok());
    std::vector<std::string> out;
    for (const auto& resource : response.resources()) {
      out.push_back(resource.type() + " " + resource.id());
    }
    return out;
  }
  Status add(const std::string& id, const std::string& type, const std::string& resource) {
    containerd::services::leases::v1::AddResourceRequest request;
    request.set_id(id);
    request.mutable_resource()->set_type(type);
    request.mutable_resource()->set_id(resource);
    google::protobuf::Empty empty;
    Context context = in("default");
    return leases_->AddResource(context, request, &empty);
  }
};

TEST_F(LeasesTest, ResourcesOfEveryType) {
  ASSERT_TRUE(create_lease("l").ok());
  EXPECT_EQ(create_lease("l").code(), Code::kAlreadyExists);
  ASSERT_TRUE(add("l", "content", digest("x")).ok());
  ASSERT_TRUE(add("l", "snapshots/fake", "sha256:a/b").ok());
  ASSERT_TRUE(add("l", "ingests", "r").ok());
  ASSERT_TRUE(add("l", "images", "docker.io/a:b").ok());
  EXPECT_THAT(resources("l"), ElementsAre("content " + digest("x"), "images docker.io/a:b",
                                          "ingests r", "snapshots/fake sha256:a/b"));
  EXPECT_EQ(add("l", "content", "nonsense").code(), Code::kInvalidArgument);
  EXPECT_EQ(add("l", "content/x", digest("x")).code(), Code::kInvalidArgument);
  EXPECT_EQ(add("l", "snapshots", "x").code(), Code::kInvalidArgument);
  EXPECT_EQ(add("l", "moons", "x").code(), Code::kUnimplemented);
  EXPECT_EQ(add("none", "ingests", "x").code(), Code::kNotFound);
  ASSERT_TRUE(delete_lease("l").ok());
  EXPECT_EQ(delete_lease("l").code(), Code::kNotFound);
}

TEST_F(LeasesTest, TheHeaderLeasesWhatIsMade) {
  ASSERT_TRUE(create_lease("l").ok());
  ASSERT_TRUE(write_blob(leased("l"), "x").ok());
  ASSERT_TRUE(prepare("a", "", {}, leased("l")).ok());
  EXPECT_THAT(resources("l"), ElementsAre("content " + digest("x"), "snapshots/fake a"));
  ASSERT_TRUE(commit("b", "a", {}, leased("l")).ok());
  EXPECT_THAT(resources("l"), ElementsAre("content " + digest("x"), "snapshots/fake b"));
  EXPECT_EQ(write_blob(leased("gone"), "y").code(), Code::kNotFound);
  EXPECT_EQ(prepare("c", "", {}, leased("gone")).code(), Code::kNotFound);
}

TEST_F(LeasesTest, MakesUpAnId) {
  containerd::services::leases::v1::CreateRequest request;
  containerd::services::leases::v1::CreateResponse response;
  Context context = in("default");
  ASSERT_TRUE(leases_->Create(context, request, &response).ok());
  EXPECT_FALSE(response.lease().id().empty());
}

class SandboxesTest : public MetadataTest {};

TEST_F(SandboxesTest, CreateUpdateListDelete) {
  namespace api = containerd::services::sandbox::v1;
  Context context = in("default");
  api::StoreCreateRequest create;
  create.mutable_sandbox()->set_sandbox_id("sb");
  create.mutable_sandbox()->mutable_runtime()->set_name("runc");
  (*create.mutable_sandbox()->mutable_labels())["a"] = "1";
  api::StoreCreateResponse created;
  ASSERT_TRUE(sandboxes_->Create(context, create, &created).ok());
  EXPECT_EQ(sandboxes_->Create(context, create, &created).code(), Code::kAlreadyExists);

  api::StoreUpdateRequest update;
  *update.mutable_sandbox() = create.sandbox();
  (*update.mutable_sandbox()->mutable_extensions())["e"].set_value("v");
  update.mutable_sandbox()->clear_labels();
  update.add_fields("extensions.e");
  api::StoreUpdateResponse updated;
  ASSERT_TRUE(sandboxes_->Update(context, update, &updated).ok());
  EXPECT_EQ(updated.sandbox().labels().size(), 1U);

  api::StoreListRequest list;
  list.add_filters("labels.a==1");
  api::StoreListResponse listed;
  ASSERT_TRUE(sandboxes_->List(context, list, &listed).ok());
  ASSERT_EQ(listed.list_size(), 1);
  EXPECT_EQ(listed.list(0).extensions().at("e").value(), "v");

  api::StoreDeleteRequest remove;
  remove.set_sandbox_id("sb");
  api::StoreDeleteResponse removed;
  ASSERT_TRUE(sandboxes_->Delete(context, remove, &removed).ok());
  EXPECT_EQ(sandboxes_->Delete(context, remove, &removed).code(), Code::kNotFound);
}

}  // namespace
}  // namespace berth::metadata
