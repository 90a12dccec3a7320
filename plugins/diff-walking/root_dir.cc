#include "root_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace berth::diff_walking {
namespace {

// As the kernel's own limit of links in one path.
constexpr int kMaxLinkDepth = 40;

int openat2_retrying(int dir, const char* path, uint64_t flags, uint64_t resolve) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.resolve = resolve;
  // EAGAIN: a rename went on somewhere in the meantime and the kernel cannot vouch for "..".
  for (int attempt = 0; attempt < 128; ++attempt) {
    const long fd = ::syscall(SYS_openat2, dir, path, &how, sizeof how);
    if (fd >= 0) return static_cast<int>(fd);
    if (errno != EAGAIN && errno != EINTR) break;
  }
  return -errno;
}

struct CloseDir {
  void operator()(DIR* dir) const { ::closedir(dir); }
};

}  // namespace

Result<EntryPath> parse_entry_path(std::string_view name) {
  std::vector<std::string_view> components;
  for (std::string_view rest = name; !rest.empty();) {
    const size_t slash = rest.find('/');
    const std::string_view component = rest.substr(0, slash);
    rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
    if (component.empty() || component == ".") continue;
    if (component != "..") {
      components.push_back(component);
    } else if (components.empty()) {
      return invalid_argument("the archive has the entry \"" + std::string(name) +
                              "\", which climbs out of the root of the layer");
    } else {
      components.pop_back();
    }
  }
  EntryPath path;
  if (components.empty()) return path;
  path.base = components.back();
  components.pop_back();
  for (const std::string_view component : components) {
    if (!path.parent.empty()) path.parent += '/';
    path.parent += component;
  }
  return path;
}

Result<RootDir> RootDir::open(const std::string& path) {
  RootDir root;
  root.fd_.reset(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.fd_) return errno_status(errno, "open the directory " + path);
  root.path_ = path;
  return root;
}

Result<RootDir> RootDir::adopt(UniqueFd dir, std::string name) {
  RootDir root;
  root.fd_.reset(::openat(dir.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.fd_) return errno_status(errno, "open the directory of " + name);
  root.path_ = std::move(name);
  return root;
}

int RootDir::resolve(const std::string& path, uint64_t flags) const {
  return openat2_retrying(fd_.get(), path.empty() ? "." : path.c_str(), flags,
                          RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

Result<UniqueFd> RootDir::open_dir(const std::string& path) const {
  UniqueFd dir(resolve(path, O_PATH | O_DIRECTORY));
  if (dir) return dir;
  return errno_status(-dir.release(), "open the directory " + path + " in " + path_);
}

Result<UniqueFd> RootDir::make_dirs(const std::string& path, const Created& created) const {
  return make_dirs(path, created, 0);
}

Status RootDir::unusable(int error, const std::string& path) const {
  if (error != ENOTDIR && error != ELOOP) {
    return errno_status(error, "open the directory " + path + " in " + path_);
  }
  return invalid_argument("\"" + path +
                          "\" is needed as a directory, but a part of it is something else");
}

// Calls itself once per link, and not per directory: a layer says how many of those there are, and
// stacks are small.
Result<UniqueFd> RootDir::make_dirs(const std::string& path, const Created& created,
                                    int links) const {
  if (links > kMaxLinkDepth) {
    return invalid_argument("\"" + path + "\" goes through too many symbolic links");
  }
  size_t end = path.size();  // of the part that is there
  int found = resolve(path, O_PATH | O_DIRECTORY);
  while (found == -ENOENT && end > 0) {
    const size_t slash = path.rfind('/', end - 1);
    end = slash == std::string::npos ? 0 : slash;
    found = resolve(path.substr(0, end), O_PATH | O_DIRECTORY);
  }
  if (found < 0) return unusable(-found, path);
  UniqueFd dir(found);
  while (end < path.size()) {
    const size_t begin = path[end] == '/' ? end + 1 : end;
    end = std::min(path.find('/', begin), path.size());
    const std::string above = path.substr(0, begin == 0 ? 0 : begin - 1);
    BERTH_RETURN_IF_ERROR(
        make_dir(dir.get(), above, path.substr(begin, end - begin), created, links));
    dir.reset(resolve(path.substr(0, end), O_PATH | O_DIRECTORY));
    if (!dir) return unusable(-dir.release(), path);
  }
  return dir;
}

Status RootDir::make_dir(int parent, const std::string& above, const std::string& name,
                         const Created& created, int links) const {
  if (name.empty() || name == "." || name == "..") return {};
  const std::string path = above.empty() ? name : above + "/" + name;
  if (::mkdirat(parent, name.c_str(), 0755) == 0) {
    return created ? created(parent, name, path) : Status();
  }
  if (errno != EEXIST) return errno_status(errno, "make the directory " + path + " in " + path_);
  // A link to something that does not exist yet: make that, as seen from inside the root.
  std::string target(4096, '\0');
  const ssize_t size = ::readlinkat(parent, name.c_str(), target.data(), target.size());
  if (size <= 0) return {};
  target.resize(static_cast<size_t>(size));
  if (!target.starts_with('/') && !above.empty()) target = above + "/" + target;
  return make_dirs(target, created, links + 1).status();
}

namespace {

class Remove final : public TreeVisitor {
 public:
  explicit Remove(const std::function<void(const struct stat&)>& removed) : removed_(removed) {}

  Status visit(const TreeEntry& entry) override { return unlink_entry(entry); }
  Status leave_directory(const TreeEntry& entry) override {
    if (removed_) removed_(entry.status);
    return unlink_entry(entry);
  }
  bool leaves_with_fd() const override { return false; }
  Status mount_point(const TreeEntry&) override { return mounted_here(); }

 private:
  const std::function<void(const struct stat&)>& removed_;
};

}  // namespace

Status unlink_entry(const TreeEntry& entry) {
  const int flags = S_ISDIR(entry.status.st_mode) ? AT_REMOVEDIR : 0;
  if (::unlinkat(entry.parent_fd, entry.name, flags) == 0 || errno == ENOENT) return {};
  return errno_status(errno, "remove");
}

Status mounted_here() { return failed_precondition("something is mounted here; unmount it first"); }

Status remove_tree(int parent, const std::string& name,
                   const std::function<void(const struct stat&)>& removed) {
  if (::unlinkat(parent, name.c_str(), 0) == 0 || errno == ENOENT) return {};
  // EISDIR for a directory; POSIX also allows EPERM.
  if (errno != EISDIR && errno != EPERM) return errno_status(errno, "remove " + name);
  Remove remove(removed);
  const Status status = walk_tree_at(parent, name, remove);
  return status.code() == Code::kNotFound ? Status() : status;
}

std::string shortened(const std::string& path) {
  constexpr size_t kShown = 512;
  if (path.size() <= kShown) return path;
  return path.substr(0, kShown / 2) + "…" + path.substr(path.size() - kShown / 2);
}

Status for_each_name(int dir, const std::function<Status(const std::string& name)>& visit) {
  // An own description: the position in the directory is not shared with other users of `dir`.
  UniqueFd own(::openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!own) return errno_status(errno, "read a directory");
  std::unique_ptr<DIR, CloseDir> stream(::fdopendir(own.get()));
  if (stream == nullptr) return errno_status(errno, "read a directory");
  (void)own.release();  // the stream closes it
  while (true) {
    errno = 0;
    const dirent* entry = ::readdir(stream.get());
    if (entry == nullptr) break;
    const std::string name = entry->d_name;
    if (name != "." && name != "..") BERTH_RETURN_IF_ERROR(visit(name));
  }
  if (errno != 0) return errno_status(errno, "read a directory");
  return {};
}

Result<std::vector<std::string>> sorted_names(int dir) {
  std::vector<std::string> names;
  BERTH_RETURN_IF_ERROR(for_each_name(dir, [&](const std::string& name) {
    names.push_back(name);
    return Status();
  }));
  std::sort(names.begin(), names.end());
  return names;
}

std::string path_of_fd(int fd) { return "/proc/thread-self/fd/" + std::to_string(fd); }

}  // namespace berth::diff_walking
