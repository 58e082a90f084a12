// How fast one shard comes over the network, and what that costs: reads a URL to its end through
// the loader's own source, in blocks of 1 MiB, and prints one JSON object. remote_throughput.sh
// compares it with the curl program.
#include <sys/resource.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "loader/read/http/remote_sources.h"

namespace {

double cpu_seconds() {
  rusage use{};
  getrusage(RUSAGE_SELF, &use);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(use.ru_utime) + seconds(use.ru_stime);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: remote_throughput URL [CA_FILE]\n");
    return 2;
  }
  shardreel::InputOptions options;
  if (argc > 2) options.ca_file = argv[2];
  shardreel::RemoteShape shape;
  shape.stream_bytes = std::uint64_t{16} << 20;  // what the plan gives a shard at 2 GiB
  shardreel::MemoryLedger ledger;
  boost::asio::io_context loop;
  auto work =
      std::make_unique<boost::asio::executor_work_guard<boost::asio::io_context::executor_type>>(
          loop.get_executor());
  std::thread thread([&] { loop.run(); });
  std::uint64_t bytes = 0;
  int status = 0;
  const auto begin = std::chrono::steady_clock::now();
  const double cpu = cpu_seconds();
  {
    shardreel::RemoteSources sources(options, shape, ledger, loop);
    auto stream = sources.open(argv[1], {});
    std::vector<std::byte> block(std::size_t{1} << 20);
    while (stream) {
      const auto got = (*stream)->read(block);
      if (!got) {
        std::fprintf(stderr, "%s\n", got.error().describe().c_str());
        status = 1;
        break;
      }
      if (*got == 0) break;
      bytes += *got;
    }
    if (!stream) {
      std::fprintf(stderr, "%s\n", stream.error().describe().c_str());
      status = 1;
    }
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const double spent = cpu_seconds() - cpu;
  work.reset();
  loop.stop();
  thread.join();
  std::printf("{\"bytes\": %llu, \"seconds\": %.4f, \"cpu_seconds\": %.4f}\n",
              static_cast<unsigned long long>(bytes), seconds, spent);
  return status;
}
