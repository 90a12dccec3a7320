// berth-plugin-relations FILE.so...: what a Debian package with these plugins depends on and
// provides, as substvars. Runs no code of the plugins.
#include <cstdio>
#include <string>
#include <vector>

#include "relations.h"

int main(int argc, char** argv) {
  if (argc < 2 || argv[1][0] == '-') {
    std::fprintf(stderr,
                 "usage: berth-plugin-relations FILE.so...\n"
                 "Prints the relations of a package with these plugins, as substvars.\n");
    return 2;
  }
  std::vector<berth::manifest::Manifest> manifests;
  for (int i = 1; i < argc; ++i) {
    auto manifest = berth::manifest::read_manifest(argv[i]);
    if (!manifest.ok()) {
      std::fprintf(stderr, "berth-plugin-relations: %s\n", manifest.status().message().c_str());
      return 1;
    }
    manifests.push_back(*std::move(manifest));
  }
  std::fputs(berth::packaging::to_substvars(berth::packaging::relations_of(manifests)).c_str(),
             stdout);
  return 0;
}
