#include "manifest/elf_note.h"

#include <elf.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "manifest/mapped_file.h"

namespace berth::manifest {
namespace {

constexpr std::string_view kNoteName{"Berth\0", 6};
constexpr uint32_t kManifestType = 1;

/// A structure at `base` + `offset`, copied out since it need not be aligned; false when it does
/// not fit.
template <typename T>
bool read_at(std::string_view image, uint64_t base, uint64_t offset, T* out) {
  if (base > image.size() || offset > image.size() - base) return false;
  const std::string_view rest = image.substr(base + offset);
  if (rest.size() < sizeof(T)) return false;
  std::memcpy(out, rest.data(), sizeof(T));
  return true;
}

uint64_t aligned(uint64_t size, uint64_t alignment) {
  return (size + alignment - 1) & ~(alignment - 1);
}

/// Looks through the notes of one segment or section; what is found is added to `manifests`. Notes
/// that lie about their sizes end the search: whatever follows has no place.
void find_in_notes(std::string_view notes, uint64_t alignment,
                   std::vector<std::string_view>* manifests) {
  const std::string_view all = notes;
  // Positions are rounded up, not sizes: that is how binutils and the kernel read notes aligned to
  // eight.
  const auto skip = [&](uint64_t size) {
    const uint64_t next = aligned(all.size() - notes.size() + size, alignment);
    notes = all.substr(std::min<uint64_t>(next, all.size()));
  };
  while (notes.size() >= sizeof(Elf64_Nhdr)) {
    Elf64_Nhdr header;
    std::memcpy(&header, notes.data(), sizeof header);
    notes.remove_prefix(sizeof header);
    if (header.n_namesz > notes.size()) return;
    const std::string_view name = notes.substr(0, header.n_namesz);
    skip(header.n_namesz);
    if (header.n_descsz > notes.size()) return;
    if (name == kNoteName && header.n_type == kManifestType) {
      manifests->push_back(notes.substr(0, header.n_descsz));
    }
    skip(header.n_descsz);
  }
}

/// The bytes of one note segment or section.
Status add_notes(std::string_view image, uint64_t offset, uint64_t size, uint64_t alignment,
                 std::vector<std::string_view>* manifests) {
  if (offset > image.size() || size > image.size() - offset) {
    return invalid_argument("a note lies outside the file");
  }
  find_in_notes(image.substr(offset, size), alignment == 8 ? 8 : 4, manifests);
  return {};
}

Status search_segments(std::string_view image, const Elf64_Ehdr& header,
                       std::vector<std::string_view>* manifests) {
  if (header.e_phnum != 0 && header.e_phentsize != sizeof(Elf64_Phdr)) {
    return invalid_argument("its program headers have " + std::to_string(header.e_phentsize) +
                            " bytes each, not " + std::to_string(sizeof(Elf64_Phdr)));
  }
  for (uint32_t i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    if (!read_at(image, header.e_phoff, uint64_t{i} * sizeof segment, &segment)) {
      return invalid_argument("its program headers lie outside the file");
    }
    // Mapped, what is missing would be a SIGBUS for who touches it, and that is dlopen.
    if (segment.p_type == PT_LOAD &&
        (segment.p_offset > image.size() || segment.p_filesz > image.size() - segment.p_offset)) {
      return invalid_argument("it is cut off: it has " + std::to_string(image.size()) +
                              " bytes and a segment beyond them; copy or install it again");
    }
    if (segment.p_type != PT_NOTE) continue;
    BERTH_RETURN_IF_ERROR(
        add_notes(image, segment.p_offset, segment.p_filesz, segment.p_align, manifests));
  }
  return {};
}

/// Only where no segment has the note, as in an object file.
Status search_sections(std::string_view image, const Elf64_Ehdr& header,
                       std::vector<std::string_view>* manifests) {
  if (header.e_shnum != 0 && header.e_shentsize != sizeof(Elf64_Shdr)) {
    return invalid_argument("its section headers have " + std::to_string(header.e_shentsize) +
                            " bytes each, not " + std::to_string(sizeof(Elf64_Shdr)));
  }
  for (uint32_t i = 0; i < header.e_shnum; ++i) {
    Elf64_Shdr section;
    if (!read_at(image, header.e_shoff, uint64_t{i} * sizeof section, &section)) {
      return invalid_argument("its section headers lie outside the file");
    }
    if (section.sh_type != SHT_NOTE) continue;
    BERTH_RETURN_IF_ERROR(
        add_notes(image, section.sh_offset, section.sh_size, section.sh_addralign, manifests));
  }
  return {};
}

}  // namespace

Result<std::string_view> find_manifest_note(std::string_view image) {
  Elf64_Ehdr header;
  if (!read_at(image, 0, 0, &header) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) {
    return invalid_argument("it is not an ELF file");
  }
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB) {
    return invalid_argument("it is not a 64-bit little-endian ELF file");
  }
  std::vector<std::string_view> manifests;
  BERTH_RETURN_IF_ERROR(search_segments(image, header, &manifests));
  if (manifests.empty()) BERTH_RETURN_IF_ERROR(search_sections(image, header, &manifests));
  if (manifests.empty()) {
    return not_found(
        "it has no manifest (an ELF note named Berth); build it with berth_add_plugin");
  }
  if (manifests.size() > 1) {
    return invalid_argument(
        "it has " + std::to_string(manifests.size()) +
        " manifests (ELF notes named Berth); link one plugin folder into one file");
  }
  if (manifests.front().size() > kMaxManifestBytes) {
    return invalid_argument("its manifest has " + std::to_string(manifests.front().size()) +
                            " bytes, the limit is " + std::to_string(kMaxManifestBytes));
  }
  return manifests.front();
}

Result<std::string> read_manifest_note(const std::string& file) {
  const std::string attempt = "read the manifest of " + file;
  BERTH_ASSIGN_OR_RETURN(const MappedFile mapped, MappedFile::open(file, attempt));
  const auto note = find_manifest_note(mapped.bytes());
  if (!note.ok()) return note.status().with_context(attempt);
  return std::string(*note);
}

}  // namespace berth::manifest
