// Checkpoints in the content store, as containerd's clients put them into images and find them
// there.
#pragma once

#include "containerd/services/content/v1/content.berth.h"
#include "containerd/services/diff/v1/diff.berth.h"
#include "peers.h"

namespace berth::runtime {

/// CheckpointStore over the daemon's differ, which makes and extracts the tar, and content store.
class ContentCheckpoints final : public CheckpointStore {
 public:
  using Diff = containerd::services::diff::v1::DiffClient;
  using Content = containerd::services::content::v1::ContentClient;
  ContentCheckpoints(Diff diff, Content content)
      : diff_(std::move(diff)), content_(std::move(content)) {}

  Result<containerd::types::Descriptor> put_files(const Context& context,
                                                  const std::string& directory,
                                                  const std::string& ref) override;
  Result<containerd::types::Descriptor> put_spec(const Context& context, std::string_view spec,
                                                 const std::string& ref) override;
  Status get_files(const Context& context, const containerd::types::Descriptor& files,
                   const std::string& directory) override;

 private:
  const Diff diff_;
  const Content content_;
};

}  // namespace berth::runtime
