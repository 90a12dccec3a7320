// Content that comes in: one large blob, and many small ones.
#include <unistd.h>

#include "inputs.h"
#include "rows.h"

namespace berth::bench {
namespace {

constexpr size_t kSmallBytes = 4096;

std::string always(const Settings&) { return {}; }

std::string size_text(size_t bytes) {
  return bytes % (1U << 30) == 0 ? std::to_string(bytes >> 30) + " GiB"
                                 : std::to_string(bytes >> 20) + " MiB";
}

void ingest(const DaemonProcess& daemon, const Settings& settings, Report report) {
  static RandomBlob blob(settings.ingest_bytes, 1);
  Client client(daemon.address(), daemon.space());
  client.answers();
  ::sync();  // what others wrote is not to be waited for by the sync of this commit
  const double cpu = daemon.cpu_milliseconds();
  const Stopwatch watch;
  client.write_blob(blob.digest(), blob.size(),
                    [&](size_t offset, size_t size) { return blob.piece(offset, size); });
  const std::string name = "ingest of " + size_text(blob.size()) + ", committed";
  report.add(name + ", MB/s", Measure::kRate, Aim::kNeverWorse,
             static_cast<double>(blob.size()) / 1e6 / watch.seconds());
  report.add(name + ": daemon's CPU, ms", Measure::kAmount, Aim::kNone,
             daemon.cpu_milliseconds() - cpu);
}

void blobs(const DaemonProcess& daemon, const Settings& settings, Report report) {
  for (const int writers : {1, 8}) {
    const int each = std::max(1, settings.small_blobs / writers);
    std::vector<std::string> bytes, digests;  // made before the clock runs
    for (int i = 0; i < each * writers; ++i) {
      bytes.push_back(std::to_string(writers) + "/" + std::to_string(i) + "/");
      bytes.back().resize(kSmallBytes, static_cast<char>('a' + i % 26));
      digests.push_back(digest_of(bytes.back()));
    }
    ::sync();
    const double seconds = at_once(daemon, writers, [&](Client& client, int thread) {
      for (int i = thread * each; i < (thread + 1) * each; ++i) {
        const auto at = static_cast<size_t>(i);
        client.write_blob(digests[at], bytes[at]);
      }
    });
    report.add("blobs of 4 KiB, committed, " + std::to_string(writers) +
                   (writers == 1 ? " writer" : " writers") + ", 1/s",
               Measure::kRate, Aim::kNeverWorse, each * writers / seconds);
  }
}

}  // namespace

std::vector<Row> content_rows() {
  return {{"ingest", "one large blob of random bytes through Content.Write", always, ingest},
          {"blobs", "many small blobs through Content.Write", always, blobs}};
}

}  // namespace berth::bench
