#include "ops/memory.h"

#include <malloc.h>
#include <sys/mman.h>

#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <string>

namespace berth::ops {
namespace {

/// One mapping as /proc/self/smaps describes it.
struct Mapping {
  uintptr_t begin = 0;
  uintptr_t end = 0;
  bool of_a_file = false;
  bool writable = true;
  bool shared = false;
  size_t resident_kib = 0;
  size_t anonymous_kib = 0;  // pages that differ from the file
};

size_t release(const Mapping& mapping) {
  if (!mapping.of_a_file || mapping.writable || mapping.shared) return 0;
  if (mapping.resident_kib == 0 || mapping.anonymous_kib != 0) return 0;
  // NOLINTNEXTLINE(performance-no-int-to-ptr): an address from /proc
  void* begin = reinterpret_cast<void*>(mapping.begin);
  if (::madvise(begin, mapping.end - mapping.begin, MADV_DONTNEED) != 0) return 0;
  return mapping.resident_kib * 1024;
}

}  // namespace

void keep_heap_in_one_place() { ::mallopt(M_ARENA_MAX, 1); }

void trim_heap() { ::malloc_trim(0); }

size_t release_start_pages() {
  trim_heap();
  size_t released = 0;
  Mapping mapping;
  std::ifstream smaps("/proc/self/smaps");
  std::string line;
  while (std::getline(smaps, line)) {
    uintptr_t begin = 0;
    uintptr_t end = 0;
    char rights[5] = {};
    int path = 0;
    if (std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR " %4s %*s %*s %*s %n", &begin, &end,
                    rights, &path) == 3) {
      mapping = {begin,
                 end,
                 line.size() > static_cast<size_t>(path) && line[static_cast<size_t>(path)] == '/',
                 rights[1] == 'w',
                 rights[3] == 's',
                 0,
                 0};
    } else if (line.starts_with("Rss:")) {
      mapping.resident_kib = std::strtoul(line.c_str() + 4, nullptr, 10);
    } else if (line.starts_with("Anonymous:")) {
      mapping.anonymous_kib = std::strtoul(line.c_str() + 10, nullptr, 10);
      released += release(mapping);  // Rss comes before
    }
  }
  return released;
}

}  // namespace berth::ops
