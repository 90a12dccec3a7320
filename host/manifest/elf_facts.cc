#include "manifest/elf_facts.h"

#include <elf.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "manifest/version.h"

namespace berth::manifest {
namespace {

constexpr std::string_view kGlibc = "GLIBC_";

/// A structure at `offset`, copied out since it need not be aligned; nothing when it does not fit.
template <typename T>
std::optional<T> at(std::string_view bytes, uint64_t offset) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) return std::nullopt;
  T out;
  std::memcpy(&out, bytes.data() + offset, sizeof out);
  return out;
}

std::string text_at(std::string_view table, uint64_t offset) {
  if (offset >= table.size()) return {};
  const std::string_view rest = table.substr(offset);
  return std::string(rest.substr(0, rest.find('\0')));
}

class Reader {
 public:
  explicit Reader(std::string_view image) : image_(image) {}

  Result<ElfFacts> read() {
    const auto header = at<Elf64_Ehdr>(image_, 0);
    if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) {
      return invalid_argument("it is not an ELF file");
    }
    if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB) {
      return invalid_argument("it is not a 64-bit little-endian ELF file");
    }
    facts_.type = header->e_type;
    facts_.machine = header->e_machine;
    BERTH_RETURN_IF_ERROR(read_segments(*header));
    BERTH_RETURN_IF_ERROR(read_sections(*header));
    std::sort(facts_.exports.begin(), facts_.exports.end());
    return std::move(facts_);
  }

 private:
  Status read_segments(const Elf64_Ehdr& header) {
    for (uint32_t i = 0; i < header.e_phnum; ++i) {
      const auto segment =
          at<Elf64_Phdr>(image_, header.e_phoff + uint64_t{i} * sizeof(Elf64_Phdr));
      if (header.e_phentsize != sizeof(Elf64_Phdr) || !segment) {
        return invalid_argument("its program headers lie outside the file");
      }
      if (segment->p_type == PT_GNU_STACK) {
        facts_.executable_stack = (segment->p_flags & PF_X) != 0;
      }
    }
    return {};
  }

  Status read_sections(const Elf64_Ehdr& header) {
    for (uint32_t i = 0; i < header.e_shnum; ++i) {
      const auto section =
          at<Elf64_Shdr>(image_, header.e_shoff + uint64_t{i} * sizeof(Elf64_Shdr));
      if (header.e_shentsize != sizeof(Elf64_Shdr) || !section) {
        return invalid_argument("its section headers lie outside the file");
      }
      sections_.push_back(*section);
    }
    facts_.has_sections = !sections_.empty();
    for (const Elf64_Shdr& section : sections_) {
      if (section.sh_type != SHT_DYNAMIC && section.sh_type != SHT_DYNSYM &&
          section.sh_type != SHT_GNU_verneed) {
        continue;
      }
      BERTH_ASSIGN_OR_RETURN(const std::string_view content, content_of(section));
      if (section.sh_link >= sections_.size()) {
        return invalid_argument("one of its sections names a section that is not there");
      }
      BERTH_ASSIGN_OR_RETURN(const std::string_view texts, content_of(sections_[section.sh_link]));
      if (section.sh_type == SHT_DYNAMIC) read_dynamic(content, texts);
      if (section.sh_type == SHT_DYNSYM) read_symbols(content, texts);
      if (section.sh_type == SHT_GNU_verneed) read_versions(content, texts);
    }
    return {};
  }

  Result<std::string_view> content_of(const Elf64_Shdr& section) const {
    if (section.sh_type == SHT_NOBITS) return std::string_view();
    if (section.sh_offset > image_.size() || section.sh_size > image_.size() - section.sh_offset) {
      return invalid_argument("one of its sections lies outside the file");
    }
    return image_.substr(section.sh_offset, section.sh_size);
  }

  void read_dynamic(std::string_view entries, std::string_view texts) {
    for (uint64_t offset = 0; const auto entry = at<Elf64_Dyn>(entries, offset);
         offset += sizeof(Elf64_Dyn)) {
      const auto value = static_cast<uint64_t>(entry->d_un.d_val);
      switch (entry->d_tag) {
        case DT_NULL:
          return;
        case DT_NEEDED:
          facts_.needed.push_back(text_at(texts, value));
          break;
        case DT_RPATH:
        case DT_RUNPATH:
          facts_.run_path.push_back(text_at(texts, value));
          break;
        case DT_TEXTREL:
          facts_.text_relocations = true;
          break;
        case DT_FLAGS:
          if ((value & DF_TEXTREL) != 0) facts_.text_relocations = true;
          break;
        default:
          break;
      }
    }
  }

  void read_symbols(std::string_view symbols, std::string_view texts) {
    for (uint64_t offset = 0; const auto symbol = at<Elf64_Sym>(symbols, offset);
         offset += sizeof(Elf64_Sym)) {
      const auto bind = ELF64_ST_BIND(symbol->st_info);
      const auto visibility = ELF64_ST_VISIBILITY(symbol->st_other);
      if (symbol->st_shndx == SHN_UNDEF || symbol->st_shndx == SHN_ABS) continue;
      if (bind != STB_GLOBAL && bind != STB_WEAK && bind != STB_GNU_UNIQUE) continue;
      if (visibility != STV_DEFAULT && visibility != STV_PROTECTED) continue;
      facts_.exports.push_back(text_at(texts, symbol->st_name));
    }
  }

  void read_versions(std::string_view needs, std::string_view texts) {
    // Each step leads forward, so a table that points in circles ends; entries that lie upon one
    // another end at the number that has room.
    uint64_t left = needs.size() / sizeof(Elf64_Vernaux);
    for (uint64_t offset = 0;;) {
      const auto need = at<Elf64_Verneed>(needs, offset);
      if (!need) return;
      uint64_t inner = offset + need->vn_aux;
      for (uint32_t i = 0; i < need->vn_cnt; ++i) {
        const auto one = at<Elf64_Vernaux>(needs, inner);
        if (!one || left-- == 0) return;
        note_version(text_at(texts, one->vna_name));
        if (one->vna_next == 0) break;
        inner += one->vna_next;
      }
      if (need->vn_next == 0) return;
      offset += need->vn_next;
    }
  }

  void note_version(std::string_view name) {
    if (!name.starts_with(kGlibc)) return;
    const auto version = Version::parse(name.substr(kGlibc.size()));
    if (!version.ok()) return;  // GLIBC_PRIVATE
    const auto greatest = Version::parse(facts_.glibc);
    if (!greatest.ok() || version->compare(*greatest) > 0) facts_.glibc = version->text();
  }

  const std::string_view image_;
  std::vector<Elf64_Shdr> sections_;
  ElfFacts facts_;
};

}  // namespace

Result<ElfFacts> elf_facts(std::string_view image) { return Reader(image).read(); }

}  // namespace berth::manifest
