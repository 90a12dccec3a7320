#include "rows.h"

#include <cstdio>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

namespace berth::bench {

std::vector<Row> all_rows() {
  std::vector<Row> rows;
  for (auto* part : {daemon_rows, metadata_rows, task_rows, content_rows, unpack_rows, shim_rows,
                     life_rows, exec_rows, client_rows}) {
    for (Row& row : part()) rows.push_back(std::move(row));
  }
  return rows;
}

Table& Results::table(const Layout& layout) {
  for (Table& table : tables_) {
    if (table.layout().title == layout.title) return table;
  }
  return tables_.emplace_back(layout);
}

void Results::print(bool markdown) const {
  const char* separator = "";
  for (const Table& table : tables_) {
    if (table.empty()) continue;
    std::printf("%s", std::exchange(separator, "\n"));
    table.print(markdown);
  }
  for (const std::string& note : notes_) std::printf("\n%s\n", note.c_str());
}

void be_idle(const Settings& settings) {
  std::this_thread::sleep_for(std::chrono::duration<double>(settings.idle_seconds));
}

double at_once(int threads, const std::function<void(int)>& work) {
  std::mutex mutex;
  std::exception_ptr failure;
  std::vector<std::thread> workers;
  const Stopwatch watch;
  for (int i = 0; i < threads; ++i) {
    workers.emplace_back([&, i] {
      try {
        work(i);
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

double at_once(const DaemonProcess& daemon, int threads,
               const std::function<void(Client&, int)>& work) {
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < threads; ++i) {
    clients.push_back(std::make_unique<Client>(daemon.address(), daemon.space()));
    clients.back()->answers();  // connects
  }
  return at_once(threads, [&](int i) { work(*clients[static_cast<size_t>(i)], i); });
}

}  // namespace berth::bench
