#include <berth/plugin.h>
#include <berth/snapshotter.h>

#include <filesystem>

namespace {

namespace fs = std::filesystem;

class Plain final : public berth::Snapshotter {
 public:
  using Snapshotter::Snapshotter;

  static berth::Result<std::unique_ptr<Plain>> create(const berth::Self& self) {
    berth::SnapshotterOptions options;
    const std::string_view root = self.config("root_path");
    options.root = root.empty() ? self.property("root") : root;
    options.spawn = [self](std::function<void()> work) { return self.spawn(std::move(work)); };
    options.warn = [self](std::string_view text) { self.warn(text); };
    auto plugin = std::make_unique<Plain>(std::move(options));
    BERTH_RETURN_IF_ERROR(plugin->open());
    return plugin;
  }

 protected:
  std::vector<std::string> folders() const override { return {"snapshots"}; }

  std::string place(const berth::SnapshotRecord& record) const override {
    return "snapshots/" + std::to_string(record.id);
  }

  berth::Status make_tree(const berth::Snapshot& snapshot) override {
    const std::string tree = absolute(place(snapshot.record));
    std::error_code error;
    fs::create_directory(tree, error);
    if (!error && !snapshot.parents.empty()) {  // owners and hard links are lost: a plain example
      const std::string parent = "snapshots/" + std::to_string(snapshot.parents.front());
      fs::copy(absolute(parent), tree,
               fs::copy_options::recursive | fs::copy_options::copy_symlinks, error);
    }
    return error ? berth::errno_status(error.value(), "make snapshot " + tree) : berth::Status();
  }

  berth::Result<MountList> mounts_of(const berth::Snapshot& snapshot) const override {
    containerd::types::Mount mount;
    mount.set_type("bind");
    mount.set_source(absolute(place(snapshot.record)));
    mount.add_options("rbind");
    mount.add_options(snapshot.record.kind == berth::SnapshotKind::kActive ? "rw" : "ro");
    return MountList{std::move(mount)};
  }
};

BERTH_PLUGIN("io.containerd.snapshotter.v1", "plain", Plain);

}  // namespace
