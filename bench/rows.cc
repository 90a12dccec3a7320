#include "rows.h"

#include <exception>
#include <mutex>
#include <thread>

namespace berth::bench {

std::vector<Row> all_rows() {
  std::vector<Row> rows;
  for (auto* part : {daemon_rows, metadata_rows, task_rows, content_rows, unpack_rows}) {
    for (Row& row : part()) rows.push_back(std::move(row));
  }
  return rows;
}

double at_once(const DaemonProcess& daemon, int threads,
               const std::function<void(Client&, int)>& work) {
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < threads; ++i) {
    clients.push_back(std::make_unique<Client>(daemon.address(), daemon.space()));
    clients.back()->answers();  // connects
  }
  std::mutex mutex;
  std::exception_ptr failure;
  std::vector<std::thread> workers;
  const Stopwatch watch;
  for (int i = 0; i < threads; ++i) {
    workers.emplace_back([&, i] {
      try {
        work(*clients[static_cast<size_t>(i)], i);
      } catch (...) {
        const std::lock_guard lock(mutex);
        failure = std::current_exception();
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  const double seconds = watch.seconds();
  if (failure) std::rethrow_exception(failure);
  return seconds;
}

}  // namespace berth::bench
