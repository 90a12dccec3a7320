#include "manifest/elf_note.h"

#include <berth/fd.h>
#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cstring>

namespace berth::manifest {
namespace {

constexpr std::string_view kNoteName{"Berth\0", 6};
constexpr uint32_t kManifestType = 1;

/// A structure at an offset, copied out since the offset need not be aligned; false when it does
/// not fit.
template <typename T>
bool read_at(std::string_view image, uint64_t offset, T* out) {
  if (offset > image.size() || image.size() - offset < sizeof(T)) return false;
  std::memcpy(out, image.data() + offset, sizeof(T));
  return true;
}

uint64_t aligned(uint64_t size) { return (size + 3) & ~3ULL; }

/// Looks through the notes of one segment or section.
std::string_view find_in_notes(std::string_view notes) {
  while (notes.size() >= sizeof(Elf64_Nhdr)) {
    Elf64_Nhdr header;
    std::memcpy(&header, notes.data(), sizeof header);
    notes.remove_prefix(sizeof header);
    const uint64_t name_size = aligned(header.n_namesz);
    if (name_size > notes.size()) return {};
    const std::string_view name = notes.substr(0, header.n_namesz);
    notes.remove_prefix(name_size);
    if (header.n_descsz > notes.size()) return {};
    if (name == kNoteName && header.n_type == kManifestType)
      return notes.substr(0, header.n_descsz);
    notes.remove_prefix(std::min<uint64_t>(aligned(header.n_descsz), notes.size()));
  }
  return {};
}

}  // namespace

Result<std::string_view> find_manifest_note(std::string_view image) {
  Elf64_Ehdr header;
  if (!read_at(image, 0, &header) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) {
    return invalid_argument("it is not an ELF file");
  }
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB) {
    return invalid_argument("it is not a 64-bit little-endian ELF file");
  }
  for (uint32_t i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    if (!read_at(image, header.e_phoff + uint64_t{i} * header.e_phentsize, &segment)) {
      return invalid_argument("its program headers lie outside the file");
    }
    if (segment.p_type != PT_NOTE) continue;
    if (segment.p_offset > image.size() || segment.p_filesz > image.size() - segment.p_offset) {
      return invalid_argument("a note segment lies outside the file");
    }
    const std::string_view found = find_in_notes(image.substr(segment.p_offset, segment.p_filesz));
    if (found.data() == nullptr) continue;
    if (found.size() > kMaxManifestBytes) {
      return invalid_argument("its manifest has " + std::to_string(found.size()) +
                              " bytes, the limit is " + std::to_string(kMaxManifestBytes));
    }
    return found;
  }
  return not_found("it has no manifest (an ELF note named Berth); build it with berth_add_plugin");
}

Result<std::string> read_manifest_note(const std::string& file) {
  const std::string attempt = "read the manifest of " + file;
  const UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return errno_status(errno, attempt);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return errno_status(errno, attempt);
  if (!S_ISREG(info.st_mode) || info.st_size == 0) {
    return invalid_argument(attempt + ": it is not a regular file with content");
  }
  const auto size = static_cast<size_t>(info.st_size);
  void* memory = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (memory == MAP_FAILED) return errno_status(errno, attempt);
  const Cleanup unmap([&] { ::munmap(memory, size); });
  const auto note = find_manifest_note({static_cast<const char*>(memory), size});
  if (!note.ok()) return note.status().with_context(attempt);
  return std::string(*note);
}

}  // namespace berth::manifest
