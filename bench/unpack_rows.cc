// An image that comes in: the unpacking of a layer alone, and `ctr images import` as a whole.
#include <unistd.h>

#include <fstream>

#include "images.h"
#include "inputs.h"
#include "machine.h"
#include "rows.h"

namespace berth::bench {
namespace {

constexpr char kGzipLayer[] = "application/vnd.oci.image.layer.v1.tar+gzip";

std::string needs_gzip(const Settings& settings) {
  return find_program("gzip").empty() ? "gzip is not there" : needs_filesystem(settings);
}

std::string needs_ctr(const Settings& settings) {
  if (settings.ctr.empty()) return "ctr is not there";
  return needs_gzip(settings);
}

std::string megabytes(size_t bytes) { return std::to_string(bytes / 1'000'000) + " MB"; }

void unpack(const DaemonProcess& daemon, const Settings& settings, Report report) {
  const LayerFiles& layer = layer_for(settings.directory, settings.layer_bytes);
  Client client(daemon.address(), daemon.space());
  std::ifstream in(layer.blob, std::ios::binary);
  std::string piece;
  client.write_blob(layer.digest, layer.size, [&](size_t, size_t size) {
    piece.resize(size);
    in.read(piece.data(), static_cast<std::streamsize>(size));
    return std::string_view(piece);
  });
  ::sync();
  const double cpu = daemon.cpu_milliseconds();
  const Stopwatch watch;
  const Mounts mounts = prepare_snapshot(client, "unpacking", "");
  apply_layer(client, mounts, kGzipLayer, layer.digest, layer.size, layer.diff_id);
  commit_snapshot(client, "unpacking", "unpacked");
  const std::string name = "unpack of a gzip layer of " + megabytes(settings.layer_bytes);
  report.add(name + ", s", Measure::kTime, Aim::kTwiceAsFast, watch.seconds());
  report.add(name + ": daemon's CPU, ms", Measure::kAmount, Aim::kNone,
             daemon.cpu_milliseconds() - cpu);
}

void import(const DaemonProcess& daemon, const Settings& settings, Report report) {
  const LayerFiles& layer = layer_for(settings.directory, settings.layer_bytes);
  const std::string log = daemon.directory() + "/ctr.log";
  ::sync();
  const double cpu = daemon.cpu_milliseconds();
  const Stopwatch watch;
  const int code = run({settings.ctr, "--address", daemon.address(), "--namespace", daemon.space(),
                        "images", "import", "--snapshotter", kSnapshotter, layer.archive},
                       log);
  const double seconds = watch.seconds();
  if (code != 0) {
    throw std::runtime_error("ctr images import ended with " + std::to_string(code) + ": " +
                             read_file(log));
  }
  const std::string name = "ctr images import, a gzip layer of " + megabytes(settings.layer_bytes);
  report.add(name + ", s", Measure::kTime, Aim::kNeverWorse, seconds);
  report.add(name + ": daemon's CPU, ms", Measure::kAmount, Aim::kNone,
             daemon.cpu_milliseconds() - cpu);
}

}  // namespace

std::string needs_filesystem(const Settings&) {
  if (::geteuid() != 0) return "a file system of one's own needs root";
  return find_program("mkfs.ext4").empty() ? "mkfs.ext4 is not there" : "";
}

std::vector<Row> unpack_rows() {
  return {{"unpack", "Prepare, Apply and Commit of a layer whose blob is there", needs_gzip, unpack,
           nullptr, true},
          {"import", "ctr images import of an archive with that layer", needs_ctr, import, nullptr,
           true}};
}

}  // namespace berth::bench
