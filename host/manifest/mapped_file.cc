#include "manifest/mapped_file.h"

#include <berth/fd.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

namespace berth::manifest {

Result<MappedFile> MappedFile::open(const std::string& file, const std::string& attempt) {
  const UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return errno_status(errno, attempt);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return errno_status(errno, attempt);
  if (!S_ISREG(info.st_mode) || info.st_size == 0) {
    return invalid_argument(attempt + ": it is not a regular file with content");
  }
  const auto size = static_cast<size_t>(info.st_size);
  void* memory = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (memory == MAP_FAILED) return errno_status(errno, attempt);
  return MappedFile({static_cast<const char*>(memory), size});
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<char*>(bytes_.data()), bytes_.size());
}

}  // namespace berth::manifest
