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

/// A directory that goes, once all that is in it has gone.
struct Going {
  UniqueFd dir;
  std::string name;
  std::vector<std::string> inside = {};
};

/// Removes a file; a directory is added to `going`.
Status begin_removal(int parent, const std::string& name, std::vector<Going>* going) {
  if (::unlinkat(parent, name.c_str(), 0) == 0 || errno == ENOENT) return {};
  // EISDIR for a directory; POSIX also allows EPERM.
  if (errno != EISDIR && errno != EPERM) return errno_status(errno, "remove " + name);
  UniqueFd dir(openat2_retrying(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW,
                                RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS));
  if (!dir) {
    const int error = -dir.release();
    if (error == ENOENT) return {};
    return errno_status(error, "remove " + name + ": open the directory");
  }
  std::vector<std::string> inside;
  BERTH_RETURN_IF_ERROR(for_each_name(dir.get(), [&](const std::string& child) {
    inside.push_back(child);
    return Status();
  }));
  going->push_back({std::move(dir), name, std::move(inside)});
  return {};
}

}  // namespace

Status remove_tree(int parent, const std::string& name,
                   const std::function<void(const struct stat&)>& removed) {
  std::vector<Going> going;  // from the top down; trees may be deeper than stacks
  BERTH_RETURN_IF_ERROR(begin_removal(parent, name, &going));
  while (!going.empty()) {
    Going& last = going.back();
    if (!last.inside.empty()) {
      const std::string child = std::move(last.inside.back());
      last.inside.pop_back();
      BERTH_RETURN_IF_ERROR(begin_removal(last.dir.get(), child, &going));
      continue;
    }
    struct stat info;
    if (removed && ::fstat(last.dir.get(), &info) == 0) removed(info);
    const std::string gone = std::move(last.name);
    going.pop_back();
    const int above = going.empty() ? parent : going.back().dir.get();
    if (::unlinkat(above, gone.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) {
      return errno_status(errno, "remove the directory " + gone);
    }
  }
  return {};
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
