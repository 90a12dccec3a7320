// A small file system of a test's own that can be filled to the last block. Needs root.
#pragma once

#include <berth/fd.h>
#include <berth/status.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace berth {

/// A file system of type `ext4`, `xfs` or `btrfs` over a loop device, in a mount namespace of this
/// process: it goes with its owner, and with a process that dies.
class SmallDisk {
 public:
  /// UNIMPLEMENTED, with the reason, where this machine has no such file system.
  static Result<std::unique_ptr<SmallDisk>> make(const std::string& type) {
    if (::geteuid() != 0) return unimplemented("mounting a file system needs root");
    if (std::system(("command -v mkfs." + type + " >/dev/null").c_str()) != 0)
      return unimplemented("mkfs." + type + " is not installed");
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
      return errno_status(errno, "make a mount namespace");
    std::string folder = ::testing::TempDir() + "berth-disk-XXXXXX";
    if (::mkdtemp(folder.data()) == nullptr) return errno_status(errno, "make " + folder);
    std::unique_ptr<SmallDisk> disk(new SmallDisk(folder));  // private constructor
    const std::string image = folder + "/image";
    // ext4 keeps nothing back for root; the others are as small as they can be.
    const bool ext4 = type == "ext4";
    const off_t size = off_t{ext4 ? 16 : type == "xfs" ? 320 : 120} << 20;
    const UniqueFd fd(::open(image.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    if (!fd || ::ftruncate(fd.get(), size) != 0) return errno_status(errno, "make " + image);
    std::filesystem::create_directory(disk->path());
    const std::string options = ext4 ? " -q -m 0 " : " -q ";
    if (std::system(("mkfs." + type + options + image + " >/dev/null 2>&1").c_str()) != 0)
      return internal_error("mkfs." + type + " failed");
    if (std::system(("mount -o loop " + image + " " + disk->path() + " 2>/dev/null").c_str()) != 0)
      return unimplemented("no " + type + " can be mounted over a loop device here");
    disk->mounted_ = true;
    return disk;
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(path().c_str(), MNT_DETACH);
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  std::string path() const { return folder_ + "/fs"; }

  /// Not a byte more can be written afterwards.
  void fill() {
    for (int round = 0; round < 2; ++round) {
      const UniqueFd fd(
          ::open((path() + "/ballast").c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600));
      off_t end = ::lseek(fd.get(), 0, SEEK_END);
      for (off_t piece = 64 << 20; piece >= 4096;) {
        if (::fallocate(fd.get(), 0, end, piece) == 0) {
          end += piece;
        } else {
          piece /= 2;
          end = ::lseek(fd.get(), 0, SEEK_END);  // it may have found room for a part
        }
      }
      const std::vector<char> bytes(4096, 'x');
      for (const size_t piece : {size_t{4096}, size_t{1}}) {
        while (::write(fd.get(), bytes.data(), piece) > 0) {
        }
      }
      ::syncfs(fd.get());  // what others have written and not yet allocated takes its blocks
    }
  }
  void make_room() { ::unlink((path() + "/ballast").c_str()); }
  /// Nothing mapped or cached is dirty afterwards.
  void sync() {
    const UniqueFd fd(::open(path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ::syncfs(fd.get());
  }

 private:
  explicit SmallDisk(std::string folder) : folder_(std::move(folder)) {}
  const std::string folder_;
  bool mounted_ = false;
};

}  // namespace berth
