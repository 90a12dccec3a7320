// Level "loads": what the daemon looks at before it trusts a plugin, and that it starts and stops.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <set>

#include "inspect.h"
#include "validate/fixture.h"

namespace berth::ctl::validate {
namespace {

namespace pb = google::protobuf;

TEST(File, ManifestIsSound) {
  const auto seen = inspect(subject().file);
  ASSERT_TRUE(seen.ok()) << seen.status().message();
  for (const std::string& problem : seen->problems) ADD_FAILURE() << problem;
}

TEST(File, EntryIsWhatTheManifestSays) {
  const auto loaded = PluginUnderTest::load();
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
}

class Loads : public PluginCase {
 protected:
  /// The descriptors describe the service that the table has. None are allowed: then reflection
  /// does not know it.
  void check_descriptors(const berth_service& service) {
    const berth_bytes& bytes = service.descriptors;
    if (bytes.size == 0) return;
    const std::string name(view(service.name));
    pb::FileDescriptorSet files;
    ASSERT_TRUE(files.ParseFromArray(bytes.data, static_cast<int>(bytes.size)))
        << name << ": its descriptors are no FileDescriptorSet";
    pb::DescriptorPool pool;
    for (const auto& file : files.file()) {
      ASSERT_NE(pool.BuildFile(file), nullptr)
          << name << ": " << file.name() << " in its descriptors lacks an import before it";
    }
    const pb::ServiceDescriptor* described = pool.FindServiceByName(name);
    ASSERT_NE(described, nullptr) << name << " is not in its descriptors";
    ASSERT_EQ(described->method_count(), static_cast<int>(service.method_count)) << name;
    for (int i = 0; i < described->method_count(); ++i) {
      const pb::MethodDescriptor& method = *described->method(i);
      const berth_method& in_table = service.methods[i];
      EXPECT_EQ(view(in_table.name), method.name()) << "method " << i << " of " << name;
      EXPECT_EQ((in_table.flags & BERTH_METHOD_CLIENT_STREAM) != 0, method.client_streaming())
          << name << "/" << method.name();
      EXPECT_EQ((in_table.flags & BERTH_METHOD_SERVER_STREAM) != 0, method.server_streaming())
          << name << "/" << method.name();
    }
  }
};

TEST_F(Loads, TablesAreWellFormed) {
  const berth_plugin& table = plugin_->table();
  constexpr size_t kLeast = offsetof(berth_plugin, stop) + sizeof(table.stop);
  EXPECT_GE(table.struct_size, kLeast) << "berth_plugin is shorter than ABI 0.1 has it";
  constexpr uint32_t kKnown =
      BERTH_METHOD_CLIENT_STREAM | BERTH_METHOD_SERVER_STREAM | BERTH_METHOD_NO_BLOCK;
  for (uint32_t i = 0; i < table.service_count; ++i) {
    const berth_service& service = *table.services[i];
    const std::string name(view(service.name));
    EXPECT_GE(service.struct_size, offsetof(berth_service, descriptors) + sizeof(berth_bytes))
        << name << ": berth_service is shorter than ABI 0.1 has it";
    EXPECT_NE(name.find('.'), std::string::npos) << name << " has no package";
    std::set<std::string_view> names;
    for (uint32_t j = 0; j < service.method_count; ++j) {
      const berth_method& method = service.methods[j];
      EXPECT_FALSE(view(method.name).empty()) << "method " << j << " of " << name;
      EXPECT_TRUE(names.insert(view(method.name)).second)
          << view(method.name) << " is twice in " << name;
      EXPECT_EQ(method.flags & ~kKnown, 0U) << name << "/" << view(method.name);
      EXPECT_EQ(method.spare, 0U) << name << "/" << view(method.name) << ": spare is not 0";
    }
    check_descriptors(service);
  }
}

TEST_F(Loads, StartsAndStops) {
  START_OR_RETURN();
  plugin_->stop();
}

}  // namespace
}  // namespace berth::ctl::validate
