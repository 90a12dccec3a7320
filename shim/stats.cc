// Field numbers are those of io.containerd.cgroups.v1.Metrics and v2.Metrics
// (github.com/containerd/cgroups, metrics.proto).
#include <dirent.h>

#include <array>
#include <cstdlib>
#include <memory>

#include "cgroup.h"
#include "files.h"
#include "wire.h"

namespace berth::shim {
namespace {

struct Key {
  std::string_view name;
  uint32_t field;
};

// memory.stat of version 1. Names without "total_"; the totals follow 17 fields later.
constexpr std::array kMemory1 = {Key{"cache", 1},          Key{"rss", 2},
                                 Key{"rss_huge", 3},       Key{"mapped_file", 4},
                                 Key{"dirty", 5},          Key{"writeback", 6},
                                 Key{"pgpgin", 7},         Key{"pgpgout", 8},
                                 Key{"pgfault", 9},        Key{"pgmajfault", 10},
                                 Key{"inactive_anon", 11}, Key{"active_anon", 12},
                                 Key{"inactive_file", 13}, Key{"active_file", 14},
                                 Key{"unevictable", 15}};
constexpr uint32_t kTotalOffset = 17;

constexpr std::array kMemory2 = {Key{"anon", 1},
                                 Key{"file", 2},
                                 Key{"kernel_stack", 3},
                                 Key{"slab", 4},
                                 Key{"sock", 5},
                                 Key{"shmem", 6},
                                 Key{"file_mapped", 7},
                                 Key{"file_dirty", 8},
                                 Key{"file_writeback", 9},
                                 Key{"anon_thp", 10},
                                 Key{"inactive_anon", 11},
                                 Key{"active_anon", 12},
                                 Key{"inactive_file", 13},
                                 Key{"active_file", 14},
                                 Key{"unevictable", 15},
                                 Key{"slab_reclaimable", 16},
                                 Key{"slab_unreclaimable", 17},
                                 Key{"pgfault", 18},
                                 Key{"pgmajfault", 19},
                                 Key{"workingset_refault", 20},
                                 Key{"workingset_activate", 21},
                                 Key{"workingset_nodereclaim", 22},
                                 Key{"pgrefill", 23},
                                 Key{"pgscan", 24},
                                 Key{"pgsteal", 25},
                                 Key{"pgactivate", 26},
                                 Key{"pgdeactivate", 27},
                                 Key{"pglazyfree", 28},
                                 Key{"pglazyfreed", 29},
                                 Key{"thp_fault_alloc", 30},
                                 Key{"thp_collapse_alloc", 31}};

constexpr std::array kCpu2 = {Key{"usage_usec", 1},   Key{"user_usec", 2},
                              Key{"system_usec", 3},  Key{"nr_periods", 4},
                              Key{"nr_throttled", 5}, Key{"throttled_usec", 6}};

constexpr std::array kEvents2 = {Key{"low", 1}, Key{"high", 2}, Key{"max", 3}, Key{"oom", 4},
                                 Key{"oom_kill", 5}};

constexpr std::array kBlkio1 = {Key{"blkio.throttle.io_service_bytes_recursive", 1},
                                Key{"blkio.throttle.io_serviced_recursive", 2},
                                Key{"blkio.bfq.io_queued_recursive", 3},
                                Key{"blkio.bfq.io_service_time_recursive", 4},
                                Key{"blkio.bfq.io_wait_time_recursive", 5},
                                Key{"blkio.bfq.io_merged_recursive", 6},
                                Key{"blkio.bfq.time_recursive", 7},
                                Key{"blkio.bfq.sectors_recursive", 8}};

std::string text_of(const std::string& path) {
  auto text = read_file(path);
  return text.ok() ? *std::move(text) : std::string();
}

// "max" is no limit: the largest number, as the peer's clients know it.
uint64_t number(std::string_view text) {
  if (text.starts_with("max")) return UINT64_MAX;
  return std::strtoull(std::string(text).c_str(), nullptr, 10);
}

uint64_t number_in(const std::string& path) { return number(text_of(path)); }

std::string_view cut(std::string_view* text, char separator) {
  const size_t end = text->find(separator);
  const std::string_view part = text->substr(0, end);
  text->remove_prefix(end == std::string_view::npos ? text->size() : end + 1);
  return part;
}

// Lines "name value".
template <typename Keys>
void put_keys(std::string_view text, const Keys& keys, uint32_t offset, std::string_view prefix,
              std::string* out) {
  while (!text.empty()) {
    std::string_view line = cut(&text, '\n');
    std::string_view name = cut(&line, ' ');
    if (!name.starts_with(prefix)) continue;
    name.remove_prefix(prefix.size());
    for (const Key& key : keys) {
      if (key.name == name) put_number(key.field + offset, number(line), out);
    }
  }
}

uint64_t value_of(std::string_view text, std::string_view wanted) {
  while (!text.empty()) {
    std::string_view line = cut(&text, '\n');
    if (cut(&line, ' ') == wanted) return number(line);
  }
  return 0;
}

std::string memory_entry(const std::string& folder, const std::string& prefix) {
  std::string out;
  put_number(1, number_in(folder + "/" + prefix + ".limit_in_bytes"), &out);
  put_number(2, number_in(folder + "/" + prefix + ".usage_in_bytes"), &out);
  put_number(3, number_in(folder + "/" + prefix + ".max_usage_in_bytes"), &out);
  put_number(4, number_in(folder + "/" + prefix + ".failcnt"), &out);
  return out;
}

std::string memory1(const std::string& folder) {
  const std::string stat = text_of(folder + "/memory.stat");
  std::string out;
  put_keys(stat, kMemory1, 0, "", &out);
  put_number(16, value_of(stat, "hierarchical_memory_limit"), &out);
  put_number(17, value_of(stat, "hierarchical_memsw_limit"), &out);
  put_keys(stat, kMemory1, kTotalOffset, "total_", &out);
  put_message(33, memory_entry(folder, "memory"), &out);
  put_message(34, memory_entry(folder, "memory.memsw"), &out);
  put_message(35, memory_entry(folder, "memory.kmem"), &out);
  put_message(36, memory_entry(folder, "memory.kmem.tcp"), &out);
  return out;
}

// The kernel counts user and system time in ticks of 1/100 s.
constexpr uint64_t kNanosPerTick = 10'000'000;

std::string cpu1(const Cgroup& cgroup) {
  std::string out;
  if (const auto found = cgroup.controllers.find("cpuacct"); found != cgroup.controllers.end()) {
    std::string usage;
    put_number(1, number_in(found->second + "/cpuacct.usage"), &usage);
    const std::string stat = text_of(found->second + "/cpuacct.stat");
    put_number(2, value_of(stat, "system") * kNanosPerTick, &usage);
    put_number(3, value_of(stat, "user") * kNanosPerTick, &usage);
    const std::string each = text_of(found->second + "/cpuacct.usage_percpu");
    std::string packed;
    std::string_view rest = each;
    while (!rest.empty()) {
      if (const std::string_view word = cut(&rest, ' '); !word.empty() && word != "\n") {
        put_varint(number(word), &packed);
      }
    }
    put_text(4, packed, &usage);
    put_message(1, usage, &out);
  }
  if (const auto found = cgroup.controllers.find("cpu"); found != cgroup.controllers.end()) {
    const std::string stat = text_of(found->second + "/cpu.stat");
    std::string throttling;
    put_number(1, value_of(stat, "nr_periods"), &throttling);
    put_number(2, value_of(stat, "nr_throttled"), &throttling);
    put_number(3, value_of(stat, "throttled_time"), &throttling);
    put_message(2, throttling, &out);
  }
  return out;
}

// Lines "8:0 Read 4096", or "8:0 12" without an operation.
std::string blkio1(const std::string& folder) {
  std::string out;
  for (const Key& key : kBlkio1) {
    const std::string text = text_of(folder + "/" + std::string(key.name));
    std::string_view rest = text;
    while (!rest.empty()) {
      std::string_view line = cut(&rest, '\n');
      std::string_view device = cut(&line, ' ');
      if (device.find(':') == std::string_view::npos) continue;  // the line "Total"
      std::string_view operation = line.find(' ') == std::string_view::npos ? "" : cut(&line, ' ');
      std::string entry;
      put_text(1, operation, &entry);
      put_number(3, number(cut(&device, ':')), &entry);
      put_number(4, number(device), &entry);
      put_number(5, number(line), &entry);
      put_message(key.field, entry, &out);
    }
  }
  return out;
}

std::string pids(const std::string& folder) {
  std::string out;
  put_number(1, number_in(folder + "/pids.current"), &out);
  const std::string limit = text_of(folder + "/pids.max");
  if (!limit.starts_with("max")) put_number(2, number(limit), &out);
  return out;
}

// Files "hugetlb.2MB.SUFFIX": one message for each page size.
void put_hugetlb(const std::string& folder, bool unified, uint32_t field, std::string* out) {
  const std::string_view suffix = unified ? ".current" : ".usage_in_bytes";
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(folder.c_str()), ::closedir);
  if (directory == nullptr) return;
  constexpr std::string_view kPrefix = "hugetlb.";
  while (const dirent* const entry = ::readdir(directory.get())) {
    const std::string_view name(entry->d_name);
    if (!name.starts_with(kPrefix) || !name.ends_with(suffix)) continue;
    const std::string_view size =
        name.substr(kPrefix.size(), name.size() - kPrefix.size() - suffix.size());
    if (size.find('.') != std::string_view::npos) continue;  // hugetlb.2MB.rsvd.…
    const std::string base = folder + "/" + std::string(kPrefix) + std::string(size);
    std::string message;
    put_number(1, number_in(base + std::string(suffix)), &message);
    put_number(2, number_in(base + (unified ? ".max" : ".max_usage_in_bytes")), &message);
    if (!unified) put_number(3, number_in(base + ".failcnt"), &message);
    put_text(unified ? 3 : 4, size, &message);
    put_message(field, message, out);
  }
}

std::string metrics1(const Cgroup& cgroup) {
  const auto folder = [&](std::string_view name) {
    const auto found = cgroup.controllers.find(name);
    return found == cgroup.controllers.end() ? std::string() : found->second;
  };
  std::string out;
  if (const std::string path = folder("hugetlb"); !path.empty()) put_hugetlb(path, false, 1, &out);
  if (const std::string path = folder("pids"); !path.empty()) put_message(2, pids(path), &out);
  put_message(3, cpu1(cgroup), &out);
  if (const std::string path = folder("memory"); !path.empty()) {
    put_message(4, memory1(path), &out);
    const std::string control = text_of(path + "/memory.oom_control");
    std::string message;
    put_number(1, value_of(control, "oom_kill_disable"), &message);
    put_number(2, value_of(control, "under_oom"), &message);
    put_number(3, value_of(control, "oom_kill"), &message);
    put_message(9, message, &out);
  }
  if (const std::string path = folder("blkio"); !path.empty()) put_message(5, blkio1(path), &out);
  return out;
}

// Lines "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6".
std::string io2(std::string_view text) {
  constexpr std::array kFields = {Key{"rbytes", 3}, Key{"wbytes", 4}, Key{"rios", 5},
                                  Key{"wios", 6}};
  std::string out;
  while (!text.empty()) {
    std::string_view line = cut(&text, '\n');
    std::string_view device = cut(&line, ' ');
    if (device.find(':') == std::string_view::npos) continue;
    std::string entry;
    put_number(1, number(cut(&device, ':')), &entry);
    put_number(2, number(device), &entry);
    while (!line.empty()) {
      std::string_view pair = cut(&line, ' ');
      const std::string_view name = cut(&pair, '=');
      for (const Key& key : kFields) {
        if (key.name == name) put_number(key.field, number(pair), &entry);
      }
    }
    put_message(1, entry, &out);
  }
  return out;
}

std::string metrics2(const std::string& folder) {
  std::string out;
  put_message(1, pids(folder), &out);
  std::string cpu;
  put_keys(text_of(folder + "/cpu.stat"), kCpu2, 0, "", &cpu);
  put_message(2, cpu, &out);
  std::string memory;
  put_keys(text_of(folder + "/memory.stat"), kMemory2, 0, "", &memory);
  put_number(32, number_in(folder + "/memory.current"), &memory);
  put_number(33, number_in(folder + "/memory.max"), &memory);
  put_number(34, number_in(folder + "/memory.swap.current"), &memory);
  put_number(35, number_in(folder + "/memory.swap.max"), &memory);
  put_number(36, number_in(folder + "/memory.peak"), &memory);
  put_number(37, number_in(folder + "/memory.swap.peak"), &memory);
  put_message(4, memory, &out);
  put_message(6, io2(text_of(folder + "/io.stat")), &out);
  put_hugetlb(folder, true, 7, &out);
  std::string events;
  put_keys(text_of(folder + "/memory.events"), kEvents2, 0, "", &events);
  put_message(8, events, &out);
  return out;
}

}  // namespace

Result<Metrics> read_metrics(const Cgroup& cgroup) {
  if (cgroup.empty()) return not_found("cgroup does not exist: not found");
  if (!cgroup.unified.empty()) {
    return Metrics{"io.containerd.cgroups.v2.Metrics", metrics2(cgroup.unified)};
  }
  return Metrics{"io.containerd.cgroups.v1.Metrics", metrics1(cgroup)};
}

}  // namespace berth::shim
