// Regular files as block devices: loop(4). Linux only; needs root.
#pragma once

#include <berth/fd.h>
#include <berth/status.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>

#include <string>

namespace berth {

/// A loop device with a file behind it. The kernel takes the file off again when the last
/// descriptor is closed and nothing of the device is mounted, so an owner that dies leaves nothing.
struct LoopDevice {
  UniqueFd fd;
  std::string path;  // "/dev/loop7"
};

/// Puts `file` behind a free loop device. Any thread. The error names the file; RESOURCE_EXHAUSTED
/// when others take every device that is offered.
inline Result<LoopDevice> attach_loop_device(const std::string& file, bool read_only) {
  constexpr int kAttempts =
      64;  // another process may take the device between the offer and the use of it
  const std::string attempt = "put " + file + " behind a loop device";
  const UniqueFd backing(::open(file.c_str(), (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC));
  if (!backing) return errno_status(errno, attempt);
  const UniqueFd control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (!control) return errno_status(errno, attempt + ": open /dev/loop-control");
  for (int i = 0; i < kAttempts; ++i) {
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) return errno_status(errno, attempt + ": ask for a free one");
    LoopDevice device;
    device.path = "/dev/loop" + std::to_string(number);
    device.fd.reset(::open(device.path.c_str(), (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC));
    if (!device.fd) return errno_status(errno, attempt + ": open " + device.path);
    loop_config config{};
    config.fd = static_cast<__u32>(backing.get());
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
    if (read_only) config.info.lo_flags |= LO_FLAGS_READ_ONLY;
    if (::ioctl(device.fd.get(), LOOP_CONFIGURE, &config) == 0) return device;
    if (errno != EBUSY) return errno_status(errno, attempt + ": configure " + device.path);
  }
  return Status(Code::kResourceExhausted, attempt + ": other processes took each of " +
                                              std::to_string(kAttempts) +
                                              " devices that the kernel offered; try again");
}

}  // namespace berth
