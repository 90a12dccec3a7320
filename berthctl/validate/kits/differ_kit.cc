#include "validate/kits/differ_kit.h"

#include <berth/file_tree.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>

#include "testing/suite_files.h"
#include "validate/kits/mounts_below.h"

namespace berth::ctl::validate {

namespace fs = std::filesystem;
namespace {

/// What one service class does, by many hosts: FakeHost takes each for itself.
class Shared final : public containerd::services::content::v1::ContentService {
 public:
  explicit Shared(std::shared_ptr<MemoryContent> content) : content_(std::move(content)) {}
  void handle(uint32_t method, ServerCall call) override {
    content_->handle(method, std::move(call));
  }

 private:
  const std::shared_ptr<MemoryContent> content_;
};

std::string kind_of(mode_t mode) {
  if (S_ISREG(mode)) return "file";
  if (S_ISDIR(mode)) return "directory";
  if (S_ISLNK(mode)) return "link";
  if (S_ISCHR(mode)) return "character device";
  if (S_ISBLK(mode)) return "block device";
  return S_ISFIFO(mode) ? "fifo" : "other";
}

}  // namespace

Tree tree_of(const std::string& root, bool with_times) {
  Tree tree;
  std::map<ino_t, std::string> first_names;
  std::vector<std::string> paths = {""};
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    paths.push_back(entry.path().string().substr(root.size()));
  }
  std::sort(paths.begin(), paths.end());
  for (const std::string& path : paths) {
    const std::string full = root + path;
    const struct stat status = berth::testing::status_of(full);
    char mode[32];
    std::snprintf(mode, sizeof mode, " %04o %u:%u", status.st_mode & 07777, status.st_uid,
                  status.st_gid);
    std::string line = kind_of(status.st_mode) + mode;
    if (S_ISREG(status.st_mode)) {
      line += " " + std::to_string(status.st_size) + " bytes " +
              digest_of(berth::testing::read(full)).string();
    }
    if (S_ISLNK(status.st_mode)) line += " to " + fs::read_symlink(full).string();
    if (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode)) {
      line +=
          " " + std::to_string(major(status.st_rdev)) + ":" + std::to_string(minor(status.st_rdev));
    }
    const std::string attribute = berth::testing::attribute(full, "user.berth");
    if (attribute != "none") line += " user.berth=" + attribute;
    if (!S_ISDIR(status.st_mode)) {
      if (status.st_nlink > 1) {
        const auto [first, is_first] = first_names.emplace(status.st_ino, path);
        if (!is_first) line += " is " + first->second;
      }
      if (with_times) line += " at " + std::to_string(status.st_mtim.tv_sec);
    }
    tree[path] = line;
  }
  return tree;
}

void DifferKit::SetUp() {
  if (::geteuid() != 0) GTEST_SKIP() << "unpacking needs root";
  if (::unshare(CLONE_NEWNS) != 0 ||
      ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    GTEST_SKIP() << "no mount namespace to be had: " << std::strerror(errno);
  }
  ASSERT_NO_FATAL_FAILURE(PluginCase::SetUp());
  directory_ = (fs::temp_directory_path() / "berth-differ-XXXXXX").string();
  ASSERT_NE(::mkdtemp(directory_.data()), nullptr);
  content_ = std::make_shared<MemoryContent>();
  plugin_->provide("containerd.services.content.v1.Content",
                   [content = content_](berth::testing::FakeHost& host) {
                     return host.serve<Shared>(std::make_unique<Shared>(content), "content");
                   });
  if (!start({}, folder("host"))) {
    if (!skip_.empty()) GTEST_SKIP() << skip_;
    FAIL() << "the plugin does not start";
  }
  client_ = diff_api::DiffClient(plugin_->target());
}

void DifferKit::TearDown() {
  if (plugin_) {
    EXPECT_EQ(mounts_below(directory_), std::vector<std::string>()) << "mounts are left";
    plugin_->stop();
  }
  if (!directory_.empty()) (void)remove_tree(directory_);
}

std::string DifferKit::folder(const std::string& name) const {
  const std::string path = directory_ + "/" + name;
  fs::create_directories(path);
  return path;
}

containerd::types::Mount DifferKit::bind(const std::string& source, bool writable) {
  containerd::types::Mount mount;
  mount.set_type("bind");
  mount.set_source(source);
  mount.add_options(writable ? "rw" : "ro");
  mount.add_options("rbind");
  return mount;
}

containerd::types::Mount DifferKit::overlay(const std::string& lower, const std::string& upper,
                                            const std::string& work) {
  containerd::types::Mount mount;
  mount.set_type("overlay");
  mount.set_source("overlay");
  if (!upper.empty()) {
    mount.add_options("workdir=" + work);
    mount.add_options("upperdir=" + upper);
  }
  mount.add_options("lowerdir=" + lower);
  return mount;
}

Result<containerd::types::Descriptor> DifferKit::apply_blob(const std::string& digest, int64_t size,
                                                            const std::string& media_type,
                                                            const Mounts& mounts) {
  diff_api::ApplyRequest request;
  diff_api::ApplyResponse response;
  request.mutable_diff()->set_digest(digest);
  request.mutable_diff()->set_size(size);
  request.mutable_diff()->set_media_type(media_type);
  for (const auto& mount : mounts) *request.add_mounts() = mount;
  doing("apply " + media_type);
  BERTH_RETURN_IF_ERROR(client_.Apply(Context(), request, &response));
  return response.applied();
}

Result<containerd::types::Descriptor> DifferKit::apply(const std::string& blob,
                                                       const std::string& to,
                                                       const std::string& media_type) {
  return apply_blob(content_->add(blob), static_cast<int64_t>(blob.size()), media_type,
                    {bind(to, true)});
}

Result<containerd::types::Descriptor> DifferKit::diff(const Mounts& left, const Mounts& right,
                                                      const std::string& media_type,
                                                      const std::string& ref) {
  diff_api::DiffRequest request;
  diff_api::DiffResponse response;
  for (const auto& mount : left) *request.add_left() = mount;
  for (const auto& mount : right) *request.add_right() = mount;
  request.set_media_type(media_type);
  request.set_ref(ref);
  (*request.mutable_labels())["of"] = "the kit";
  doing("diff as \"" + media_type + "\"");
  BERTH_RETURN_IF_ERROR(client_.Diff(Context(), request, &response));
  return response.diff();
}

void DifferKit::expect_same_tree(const std::string& a, const std::string& b, const Mounts& left,
                                 const Mounts& right, const std::string& media_type) {
  const auto made = diff(left, right, media_type);
  ASSERT_TRUE(made.ok()) << media_type << ": " << made.status().to_string();
  EXPECT_EQ(made->media_type(), media_type.empty() ? kGzipLayer : media_type);
  const MemoryContent::Blob blob = content_->get(made->digest());
  EXPECT_EQ(digest_of(blob.bytes).string(), made->digest()) << "the layer is not in the store";
  EXPECT_EQ(static_cast<int64_t>(blob.bytes.size()), made->size());
  EXPECT_EQ(blob.labels.contains("of") ? blob.labels.at("of") : "", "the kit");
  const std::string layer = decompressed(blob.bytes);
  EXPECT_EQ(layer == blob.bytes, media_type == kPlainLayer) << media_type << ": how it is packed";
  if (media_type != kPlainLayer) {
    const std::string key = "containerd.io/uncompressed";
    EXPECT_EQ(blob.labels.contains(key) ? blob.labels.at(key) : "", digest_of(layer).string())
        << "the label by which clients tell the diff id";
  }
  const std::string copy = folder("copy of a");
  fs::remove_all(copy);
  fs::create_directory(copy);
  // Links and attributes included; cp knows how.
  ASSERT_EQ(std::system(("cp -a '" + a + "/.' '" + copy + "'").c_str()), 0);
  const auto applied =
      apply_blob(made->digest(), made->size(), made->media_type(), {bind(copy, true)});
  ASSERT_TRUE(applied.ok()) << applied.status().to_string();
  EXPECT_EQ(applied->digest(), digest_of(layer).string());
  EXPECT_EQ(tree_of(copy), tree_of(b)) << media_type;
}

}  // namespace berth::ctl::validate
