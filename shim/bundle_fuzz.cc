// What a shim reads before and beside the task service: its command line, what the daemon writes to
// its standard input, config.json, the runtime's log and options. Whatever the bytes: no crash.
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "arguments.h"
#include "bootstrap.h"
#include "bundle.h"
#include "cgroup.h"
#include "spec.h"
#include "wire.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace berth::shim;
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data + 1), size - 1);
  switch (data[0] % 5) {
    case 0: {
      std::vector<std::string> words;
      for (size_t at = 0; at < text.size(); at += words.back().size() + 1) {
        words.emplace_back(text.c_str() + at);
      }
      std::vector<char*> pointers;
      for (std::string& word : words) pointers.push_back(word.data());
      (void)parse_arguments(pointers);
      break;
    }
    case 1: {
      Arguments arguments;
      arguments.id = "c1";
      arguments.ns = "default";
      const StartRequest request = read_start_request(text, "3", arguments);
      (void)parse_options(request.options_type, request.options);
      (void)start_answer(request, text);
      (void)socket_path(text, "default", text);
      break;
    }
    case 2:
      if (const auto facts = read_spec(text); facts.ok()) {
        // Text of a specification is written to where JSON is: it has to survive that.
        const std::string again =
            "{\"linux\":{\"cgroupsPath\":" + json_string(facts->cgroups_path) +
            "},\"annotations\":{\"io.containerd.runc.v2.group\":" + json_string(facts->group) +
            "}}";
        const auto same = read_spec(again);
        if (!same.ok() || same->cgroups_path != facts->cgroups_path) std::abort();
        if (same->group != facts->group) std::abort();
      }
      break;
    case 3:
      (void)last_error(text);
      (void)json_member(text, "root");
      break;
    default:
      (void)parse_options("containerd.runc.v1.Options", text);
      (void)parse_cgroup(text, size % 2 == 0);
      (void)find_bytes(text, 1);
  }
  return 0;
}
