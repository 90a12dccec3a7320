// A snapshotter that is right but in one thing, which its configuration names; the kit has to find
// it. "none": in nothing.
#include <berth/plugin.h>
#include <sys/stat.h>

#include <chrono>
#include <thread>

#include "overlay.h"

namespace {

namespace snapshots = berth::snapshots_v1;
using berth::Context;
using berth::Status;
using google::protobuf::Empty;

class WrongSnapshotter final : public berth::overlay::Overlay {
 public:
  WrongSnapshotter(berth::overlay::Options options, std::string mistake)
      : Overlay(std::move(options)), mistake_(std::move(mistake)) {}

  static berth::Result<std::unique_ptr<WrongSnapshotter>> create(const berth::Self& self) {
    berth::overlay::Options options;
    options.common.root = self.property("root");
    options.common.spawn = [self](std::function<void()> work) {
      return self.spawn(std::move(work));
    };
    options.common.warn = [self](std::string_view text) { self.warn(text); };
    auto plugin =
        std::make_unique<WrongSnapshotter>(std::move(options), std::string(self.config("mistake")));
    BERTH_RETURN_IF_ERROR(plugin->open());
    return plugin;
  }

  Status Prepare(Context& context, const snapshots::PrepareSnapshotRequest& request,
                 snapshots::PrepareSnapshotResponse* response) override {
    if (mistake_ == "gives-keys-twice") {
      snapshots::RemoveSnapshotRequest remove;
      Empty empty;
      remove.set_key(request.key());
      (void)Overlay::Remove(context, remove, &empty);
    }
    return Overlay::Prepare(context, request, response);
  }

  Status View(Context& context, const snapshots::ViewSnapshotRequest& request,
              snapshots::ViewSnapshotResponse* response) override {
    BERTH_RETURN_IF_ERROR(Overlay::View(context, request, response));
    for (auto& mount : *response->mutable_mounts()) {
      for (std::string& option : *mount.mutable_options()) {
        if (mistake_ == "writable-views" && option == "ro") option = "rw";
      }
    }
    return {};
  }

  Status Commit(Context& context, const snapshots::CommitSnapshotRequest& request,
                Empty* response) override {
    if (mistake_ == "drops-labels") {
      snapshots::CommitSnapshotRequest bare = request;
      bare.clear_labels();
      return Overlay::Commit(context, bare, response);
    }
    if (mistake_ != "acknowledges-early") return Overlay::Commit(context, request, response);
    std::thread([this, request] {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      Context later;
      Empty nothing;
      (void)Overlay::Commit(later, request, &nothing);
    }).detach();
    return {};
  }

 protected:
  Status make_tree(const berth::Snapshot& snapshot) override {
    BERTH_RETURN_IF_ERROR(Overlay::make_tree(snapshot));
    if (mistake_ == "own-modes") {
      const std::string own = absolute(place(snapshot.record)) + "/fs";
      if (::chmod(own.c_str(), 0700) != 0) return berth::errno_status(errno, "chmod " + own);
    }
    return {};
  }

 private:
  const std::string mistake_;
};

BERTH_PLUGIN("io.containerd.snapshotter.v1", "wrong", WrongSnapshotter);

}  // namespace
