#include "inspect.h"

#include <berth/abi.h>
#include <elf.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "abi/file_safety.h"
#include "abi/library.h"
#include "abi/runtime_libraries.h"
#include "command.h"
#include "manifest/elf_note.h"
#include "manifest/mapped_file.h"

namespace berth::ctl {
namespace {

using nlohmann::ordered_json;

constexpr uint16_t kThisMachine =
#if defined(__x86_64__)
    EM_X86_64;
#elif defined(__aarch64__)
    EM_AARCH64;
#else
    EM_NONE;
#endif

std::string_view machine_name(uint16_t machine) {
  switch (machine) {
    case EM_X86_64:
      return "x86-64";
    case EM_AARCH64:
      return "AArch64";
    case EM_RISCV:
      return "RISC-V";
    case EM_PPC64:
      return "PowerPC64";
    default:
      return "unknown";
  }
}

std::string joined(const std::vector<std::string>& list, const char* separator = ", ") {
  std::string text;
  for (const std::string& one : list) text += (text.empty() ? "" : separator) + one;
  return text;
}

std::string_view cardinality_name(manifest::Cardinality cardinality) {
  switch (cardinality) {
    case manifest::Cardinality::kOne:
      return "one";
    case manifest::Cardinality::kOptional:
      return "optional";
    case manifest::Cardinality::kAll:
      return "all";
  }
  return "one";
}

void judge(const std::string& file, Inspection* out) {
  const auto problem = [out](std::string text) { out->problems.push_back(std::move(text)); };
  const auto warning = [out](std::string text) { out->warnings.push_back(std::move(text)); };
  const manifest::ElfFacts& elf = out->elf;
  if (Status safe = abi::check_plugin_file(file); !safe.ok()) problem(safe.message());
  if (Status fits = abi::check_abi(file, out->manifest.abi_major, out->manifest.abi_minor);
      !fits.ok()) {
    problem(fits.message());
  }
  if (Status fits = abi::check_runtime_libraries(file, elf.needed, abi::libraries_of_program());
      !fits.ok()) {
    problem(fits.message());
  }
  if (elf.type != ET_DYN) {
    problem("it is not a shared object (ELF type " + std::to_string(elf.type) +
            "): link it with -shared");
  }
  if (kThisMachine != EM_NONE && elf.machine != kThisMachine) {
    problem("it is for " + std::string(machine_name(elf.machine)) + ", this machine is " +
            std::string(machine_name(kThisMachine)) + ": build it for this machine");
  }
  if (std::filesystem::path(file).extension() != ".so") {
    warning("berthd looks at files named *.so only: rename it");
  }
  if (elf.has_sections) {
    std::vector<std::string> others = elf.exports;
    if (std::erase(others, BERTH_ENTRY_SYMBOL) == 0) {
      problem("it does not export " BERTH_ENTRY_SYMBOL
              ": build it with berth_add_plugin, or define and export the entry");
    }
    if (!others.empty()) {
      const size_t count = others.size();
      others.resize(std::min<size_t>(count, 3));
      warning("it exports " + std::to_string(count) + " symbols beside the entry (" +
              joined(others) + (count > 3 ? ", …" : "") +
              "), which can clash with another plugin's: link with a version script");
    }
  }
  if (elf.executable_stack) warning("it asks for an executable stack: link with -z noexecstack");
  if (elf.text_relocations) warning("it has text relocations: compile with -fPIC");
  if (!elf.run_path.empty()) {
    warning("it looks for libraries in " + joined(elf.run_path, ":") +
            ", which a package must not: link without rpath");
  }
}

void add_line(std::string* out, std::string_view name, const std::string& value) {
  if (value.empty()) return;
  std::string line = "  " + std::string(name);
  line.resize(std::max<size_t>(line.size() + 1, 16), ' ');
  *out += line + value + "\n";
}

std::string requirement_text(const manifest::Requirement& need) {
  std::string text = need.name + ": " + need.type + "." + need.id;
  if (!need.service.empty()) text += " with " + need.service;
  if (!need.version.text().empty()) text += " " + need.version.text();
  text += " (" + std::string(cardinality_name(need.cardinality));
  return text + (need.order_only ? ", for the order only)" : ")");
}

std::string plugin_text(const manifest::Plugin& plugin) {
  std::string out = plugin.uri() + " " + plugin.version.text() + "\n";
  std::string traits;
  if (plugin.client_facing) traits += "serves clients";
  if (plugin.optional) traits += std::string(traits.empty() ? "" : ", ") + "optional";
  if (plugin.multiple) traits += std::string(traits.empty() ? "" : ", ") + "several instances";
  add_line(&out, "traits", traits);
  add_line(&out, "aliases", joined(plugin.aliases));
  for (const std::string& service : plugin.provides) add_line(&out, "provides", service);
  for (const auto& need : plugin.requires_) add_line(&out, "requires", requirement_text(need));
  add_line(&out, "platforms", joined(plugin.platforms));
  add_line(&out, "capabilities", joined(plugin.capabilities));
  for (const manifest::ConfigKey& key : plugin.config) {
    add_line(&out, "config",
             key.key + " = " + key.default_json + " (" + key.type + "): " + key.doc);
  }
  add_line(&out, "binaries", joined(plugin.needs_binaries));
  add_line(&out, "kernel", joined(plugin.needs_kernel));
  add_line(&out, "privileges", joined(plugin.needs_capabilities));
  return out;
}

ordered_json plugin_json(const manifest::Plugin& plugin) {
  ordered_json out = {{"uri", plugin.uri()},
                      {"type", plugin.type},
                      {"id", plugin.id},
                      {"version", plugin.version.text()},
                      {"provides", plugin.provides},
                      {"client_facing", plugin.client_facing},
                      {"optional", plugin.optional},
                      {"multiple", plugin.multiple},
                      {"aliases", plugin.aliases},
                      {"platforms", plugin.platforms},
                      {"capabilities", plugin.capabilities},
                      {"config_version", plugin.config_version},
                      {"requires", ordered_json::array()},
                      {"config", ordered_json::array()},
                      {"needs",
                       {{"binaries", plugin.needs_binaries},
                        {"kernel", plugin.needs_kernel},
                        {"capabilities", plugin.needs_capabilities}}}};
  for (const manifest::Requirement& need : plugin.requires_) {
    out["requires"].push_back({{"name", need.name},
                               {"type", need.type},
                               {"id", need.id},
                               {"service", need.service},
                               {"version", need.version.text()},
                               {"cardinality", cardinality_name(need.cardinality)},
                               {"order_only", need.order_only}});
  }
  for (const manifest::ConfigKey& key : plugin.config) {
    out["config"].push_back({{"key", key.key},
                             {"type", key.type},
                             {"default", ordered_json::parse(key.default_json, nullptr, false)},
                             {"doc", key.doc}});
  }
  return out;
}

struct Options {
  std::string file;
  bool json = false;
};

int run(const Options& options) {
  const auto inspection = inspect(options.file);
  if (!inspection.ok()) {
    std::fprintf(stderr, "berthctl: %s\n", inspection.status().message().c_str());
    return kNo;
  }
  const std::string text =
      options.json ? inspection_json(*inspection) : inspection_text(*inspection);
  std::fputs(text.c_str(), stdout);
  return inspection->problems.empty() ? 0 : kNo;
}

}  // namespace

Result<Inspection> inspect(const std::string& file) {
  Inspection out;
  // Relative paths have a directory, too: the one that holds the file is part of the judgement.
  std::error_code error;
  const std::string path = std::filesystem::absolute(file, error).string();
  BERTH_ASSIGN_OR_RETURN(const auto mapped,
                         manifest::MappedFile::open(path, "read the manifest of " + path));
  BERTH_ASSIGN_OR_RETURN(out.manifest, manifest::read_manifest(path));
  out.bytes = mapped.bytes().size();
  auto elf = manifest::elf_facts(mapped.bytes());
  if (!elf.ok()) return elf.status().with_context("read " + path);
  out.elf = std::move(*elf);
  judge(path, &out);
  return out;
}

std::string inspection_text(const Inspection& one) {
  std::string out = one.manifest.file + "\n";
  add_line(&out, "ABI",
           std::to_string(one.manifest.abi_major) + "." + std::to_string(one.manifest.abi_minor) +
               " or a later minor");
  add_line(&out, "vendor", one.manifest.vendor);
  add_line(&out, "license", one.manifest.license);
  add_line(&out, "url", one.manifest.url);
  add_line(&out, "size",
           std::to_string(one.bytes) + " bytes, " + std::string(machine_name(one.elf.machine)));
  add_line(&out, "libraries", joined(one.elf.needed));
  if (!one.elf.glibc.empty()) add_line(&out, "glibc", one.elf.glibc + " or later");
  add_line(&out, "exports",
           one.elf.has_sections ? std::to_string(one.elf.exports.size()) + " symbols"
                                : "unknown: it was stripped of its section headers");
  for (const manifest::Plugin& plugin : one.manifest.plugins) out += "\n" + plugin_text(plugin);
  if (!one.problems.empty() || !one.warnings.empty()) out += "\n";
  for (const std::string& problem : one.problems) out += "problem: " + problem + "\n";
  for (const std::string& warning : one.warnings) out += "warning: " + warning + "\n";
  return out;
}

std::string inspection_json(const Inspection& one) {
  ordered_json out = {
      {"file", one.manifest.file},
      {"abi", {{"major", one.manifest.abi_major}, {"minor", one.manifest.abi_minor}}},
      {"vendor", one.manifest.vendor},
      {"license", one.manifest.license},
      {"url", one.manifest.url},
      {"size", one.bytes},
      {"machine", machine_name(one.elf.machine)},
      {"libraries", one.elf.needed},
      {"run_path", one.elf.run_path},
      {"glibc", one.elf.glibc},
      {"exports", one.elf.has_sections ? ordered_json(one.elf.exports) : ordered_json(nullptr)},
      {"plugins", ordered_json::array()},
      {"problems", one.problems},
      {"warnings", one.warnings}};
  for (const manifest::Plugin& plugin : one.manifest.plugins) {
    out["plugins"].push_back(plugin_json(plugin));
  }
  return out.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

void add_inspect(CLI::App& plugin, Action* action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = plugin.add_subcommand(
      "inspect", "show what a plugin file says of itself, without running it");
  command->add_option("file", options->file, "the plugin, a .so")->required();
  command->add_flag("--json", options->json, "print JSON");
  on_chosen(command, action, options, run);
}

}  // namespace berth::ctl
