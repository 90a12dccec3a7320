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

UniqueFd watch_version2(const std::string& folder) {
  UniqueFd watch(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!watch ||
      ::inotify_add_watch(watch.get(), (folder + "/memory.events").c_str(), IN_MODIFY) < 0)
    return {};
  return watch;
}

}  // namespace

std::shared_ptr<OomWatcher> OomWatcher::watch(std::shared_ptr<ttrpc::Loop> loop,
                                              const Cgroup& cgroup, std::function<void()> killed) {
  UniqueFd fd;
  std::string file;
  if (!cgroup.unified.empty()) {
    fd = watch_version2(cgroup.unified);
    file = cgroup.unified + "/memory.events";
  } else if (const auto found = cgroup.controllers.find("memory");
             found != cgroup.controllers.end()) {
    fd = watch_version1(found->second);
    file = found->second + "/memory.oom_control";
  }
  if (!fd) return nullptr;
  std::shared_ptr<OomWatcher> watcher(
      new OomWatcher(std::move(loop), std::move(file), std::move(fd), std::move(killed)));
  auto source =
      watcher->loop_->add(watcher->fd_.get(), EPOLLIN, [weak = std::weak_ptr(watcher)](uint32_t) {
        if (const auto alive = weak.lock()) alive->ready();
      });
  if (!source.ok()) return nullptr;
  watcher->source_ = *source;
  watcher->seen_ = static_cast<uint64_t>(std::max<int64_t>(kills(watcher->file_), 0));
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
  check();
}

void OomWatcher::check() {
  const int64_t count = kills(file_);
  if (count < 0) return stop();
  if (static_cast<uint64_t>(count) <= seen_) return;
  seen_ = static_cast<uint64_t>(count);
  killed_();
}

}  // namespace berth::shim
