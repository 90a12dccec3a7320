// Just enough of ustar to make layers for the benches.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace berth::bench {

/// Gives a tar archive to a sink, piece by piece. Owners are root, times fixed: the same calls make
/// the same bytes.
class TarWriter {
 public:
  using Sink = std::function<void(std::string_view)>;
  explicit TarWriter(Sink sink) : sink_(std::move(sink)) {}

  // Names are relative and shorter than 100 bytes.
  void directory(const std::string& name, int mode = 0755) { header(name + "/", '5', 0, mode, ""); }
  void file(const std::string& name, std::string_view data, int mode = 0644);
  void symlink(const std::string& name, const std::string& target) {
    header(name, '2', 0, 0777, target);
  }
  void hard_link(const std::string& name, const std::string& target) {
    header(name, '1', 0, 0644, target);
  }
  void end();

 private:
  void header(const std::string& name, char type, uint64_t size, int mode,
              const std::string& target);

  Sink sink_;
};

}  // namespace berth::bench
