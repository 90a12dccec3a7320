// The host's own keys: where they stand, their types, defaults and meaning.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace berth::config {

struct HostKey {
  std::string_view section;  // "" for the top level
  std::string_view key;
  std::string_view
      type;  // as in manifests: string, integer, boolean, list, table; "dirs": a string or a list
  std::string default_toml;
  std::string_view doc;
  std::string_view ignored = {};  // why the key is accepted and has no effect
};

/// In the order in which they are printed.
const std::vector<HostKey>& host_keys();

/// nullptr when the host has no such key.
const HostKey* find_host_key(std::string_view section, std::string_view key);

}  // namespace berth::config
