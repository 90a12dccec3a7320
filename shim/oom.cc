#include "oom.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "files.h"

namespace berth::shim {
namespace {

constexpr std::string_view kKey = "oom_kill ";

// -1 when the cgroup is gone.
int64_t kills(const std::string& file) {
  const auto text = read_file(file);
  if (!text.ok()) return -1;
  for (size_t at = text->find(kKey); at != std::string::npos; at = text->find(kKey, at + 1)) {
    if (at == 0 || (*text)[at - 1] == '\n') return std::atoll(text->c_str() + at + kKey.size());
  }
  return 0;
}

UniqueFd watch_version1(const std::string& folder) {
  UniqueFd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  const UniqueFd control(::open((folder + "/memory.oom_control").c_str(), O_RDONLY | O_CLOEXEC));
  if (!event || !control) return {};
  const std::string line = std::to_string(event.get()) + " " + std::to_string(control.get());
  const UniqueFd registry(::open((folder + "/cgroup.event_control").c_str(), O_WRONLY | O_CLOEXEC));
  if (!registry || ::write(registry.get(), line.data(), line.size()) < 0) return {};
  return event;
}

UniqueFd watch_version2(const std::string& file, const std::string& above) {
  UniqueFd watch(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!watch || ::inotify_add_watch(watch.get(), file.c_str(), IN_MODIFY) < 0) return {};
  // The root has no such file.
  (void)::inotify_add_watch(watch.get(), above.c_str(), IN_MODIFY);
  return watch;
}

}  // namespace

std::shared_ptr<OomWatcher> OomWatcher::watch(std::shared_ptr<ttrpc::Loop> loop,
                                              const Cgroup& cgroup, std::function<void()> killed) {
  UniqueFd fd;
  std::string file, above;
  if (!cgroup.unified.empty()) {
    file = cgroup.unified + "/memory.events";
    above = cgroup.unified.substr(0, cgroup.unified.rfind('/')) + "/memory.events";
    fd = watch_version2(file, above);
  } else if (const auto found = cgroup.controllers.find("memory");
             found != cgroup.controllers.end()) {
    fd = watch_version1(found->second);
    file = found->second + "/memory.oom_control";
  }
  if (!fd) return nullptr;
  std::shared_ptr<OomWatcher> watcher(new OomWatcher(
      std::move(loop), std::move(file), std::move(above), std::move(fd), std::move(killed)));
  auto source =
      watcher->loop_->add(watcher->fd_.get(), EPOLLIN, [weak = std::weak_ptr(watcher)](uint32_t) {
        if (const auto alive = weak.lock()) alive->ready();
      });
  if (!source.ok()) return nullptr;
  watcher->source_ = *source;
  watcher->seen_ = std::max<int64_t>(kills(watcher->file_), 0);
  watcher->seen_above_ = watcher->above_.empty() ? -1 : kills(watcher->above_);
  return watcher;
}

OomWatcher::~OomWatcher() { stop(); }

void OomWatcher::stop() {
  if (source_ != 0) loop_->remove(std::exchange(source_, 0), fd_.get());
}

void OomWatcher::ready() {
  std::array<char, 1024> buffer;
  while (::read(fd_.get(), buffer.data(), buffer.size()) > 0) {
  }
  if (!look()) stop();
}

bool OomWatcher::look() {
  const int64_t count = kills(file_);
  if (count < 0) return false;
  if (!above_.empty()) {
    const int64_t above = kills(above_);
    // Of the same moment: a kill that comes between is seen at the next look.
    if (kills(file_) == count) seen_above_ = above;
  }
  if (count <= seen_) return true;
  seen_ = count;
  killed_();
  return true;
}

void OomWatcher::check_end(bool failed) {
  if (look()) return;
  stop();
  const int64_t above = above_.empty() || seen_above_ < 0 ? -1 : kills(above_);
  if (!failed || above <= seen_above_) return;
  seen_above_ = above;
  killed_();
}

}  // namespace berth::shim
