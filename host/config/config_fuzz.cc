// Fuzzes the reading of a configuration file.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "config/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string file = [] {
    char name[] = "/tmp/berth-config-fuzz-XXXXXX";
    ::close(::mkstemp(name));
    return std::string(name);
  }();
  FILE* out = std::fopen(file.c_str(), "we");
  (void)std::fwrite(data, 1, size, out);
  std::fclose(out);
  auto config = berth::config::Config::load(file, {});
  if (config.ok()) (void)config->dump({}, true);
  ::unlink(file.c_str());
  return 0;
}
