// A differ that is right but in one thing, which its configuration names; the kit has to find it.
// "none": in nothing.
#include <berth/plugin.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "content_blobs.h"
#include "differ.h"

namespace {

namespace diff_api = containerd::services::diff::v1;
using berth::diff_walking::Differ;
using containerd::services::content::v1::ContentClient;

/// Unpacks as who has never heard of an attacker: plain tar, by joined paths.
void unpack_naively(const std::string& tar, const std::string& root) {
  for (size_t at = 0; at + 512 <= tar.size() && tar[at] != '\0';) {
    const char* const header = tar.data() + at;
    const std::string name(header, ::strnlen(header, 100));
    const std::string link(header + 157, ::strnlen(header + 157, 100));
    const auto size = static_cast<size_t>(std::strtoull(header + 124, nullptr, 8));
    const std::string path = root + "/" + name;
    at += 512;
    switch (header[156]) {
      case '5':
        (void)::mkdir(path.c_str(), 0755);
        break;
      case '2':
        (void)::symlink(link.c_str(), path.c_str());
        break;
      case '1':
        (void)::link((root + "/" + link).c_str(), path.c_str());
        break;
      default: {
        const int fd = ::open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
        if (fd < 0) break;
        (void)!::write(fd, tar.data() + at, std::min(size, tar.size() - at));
        ::close(fd);
      }
    }
    at += (size + 511) / 512 * 512;
  }
}

class WrongDiffer final : public Differ {
 public:
  WrongDiffer(ContentClient content, berth::diff_walking::DifferOptions options,
              std::string mistake)
      : Differ(content, std::move(options)),
        content_(std::move(content)),
        mistake_(std::move(mistake)) {}

  static berth::Result<std::unique_ptr<WrongDiffer>> create(const berth::Self& self) {
    return std::make_unique<WrongDiffer>(
        self.connect_to<ContentClient>("content"),
        berth::diff_walking::DifferOptions{std::string(self.property("state")), true},
        std::string(self.config("mistake")));
  }

  berth::Status Apply(berth::Context& context, const diff_api::ApplyRequest& request,
                      diff_api::ApplyResponse* response) override {
    diff_api::ApplyRequest changed = request;
    if (mistake_ == "takes-anything") {
      changed.mutable_diff()->set_media_type("application/vnd.oci.image.layer.v1.tar");
    }
    if (mistake_ == "naive") {
      BERTH_ASSIGN_OR_RETURN(const auto blob, berth::diff_walking::open_blob(
                                                  context, content_, request.diff().digest()));
      std::string tar;
      while (true) {
        BERTH_ASSIGN_OR_RETURN(const auto bytes, blob->next());
        if (bytes.empty()) break;
        tar.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      }
      unpack_naively(tar, request.mounts(0).source());
      return {};
    }
    BERTH_RETURN_IF_ERROR(Differ::Apply(context, changed, response));
    if (mistake_ == "answers-the-blob") {
      response->mutable_applied()->set_digest(request.diff().digest());
    }
    if (mistake_ == "leaves-mounts") {
      const std::string& source = request.mounts(0).source();
      if (::mount(source.c_str(), source.c_str(), nullptr, MS_BIND, nullptr) != 0) {
        return berth::errno_status(errno, "bind " + source);
      }
    }
    return {};
  }

  berth::Status Diff(berth::Context& context, const diff_api::DiffRequest& request,
                     diff_api::DiffResponse* response) override {
    diff_api::DiffRequest changed = request;
    if (mistake_ == "leaves-ingests" && request.ref().empty()) changed.set_ref("my own");
    if (mistake_ == "loses-removals") *changed.mutable_left() = {};
    return Differ::Diff(context, changed, response);
  }

 private:
  const ContentClient content_;
  const std::string mistake_;
};

BERTH_PLUGIN("io.containerd.differ.v1", "wrong", WrongDiffer);

}  // namespace
