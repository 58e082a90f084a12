// How fast are samples read from a plain tar in the page cache? Interleaved, in one run:
//   large   members of 1 to 4 MiB: ShardReader, every content read whole into reused memory,
//           against read(2) of the same file in blocks of 1 MiB into one reused buffer
//   small   members of 10 KB: ShardReader's samples a second, against Python webdataset's
//           (benchmarks/tar_read_webdataset.py, where webdataset can be imported)
// Prints one JSON object; exit 1 when a bound of --check is missed.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "shardreel/shard_reader.h"
#include "shardreel/shard_writer.h"

namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using namespace shardreel;

struct Timing {
  double wall = 0;  ///< seconds
  double cpu = 0;   ///< of this thread, seconds
  std::uint64_t bytes = 0;
  std::uint64_t samples = 0;
};

double cpu_now() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

template <typename Body>
Timing timed(const Body& body) {
  const auto begin = std::chrono::steady_clock::now();
  const double cpu = cpu_now();
  Timing timing = body();
  timing.cpu = cpu_now() - cpu;
  timing.wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return timing;
}

/// Blocks that come back are given again, as the loader's pool does: no page faults after the
/// first.
class ReusedMemory final : public ByteAllocator {
 public:
  ReusedMemory() = default;
  ReusedMemory(const ReusedMemory&) = delete;
  ReusedMemory& operator=(const ReusedMemory&) = delete;
  ~ReusedMemory() override {
    for (const auto& [size, block] : free_) munmap(block, size);
  }

  std::optional<OwnedBytes> try_allocate(std::size_t bytes) override {
    std::byte* block = nullptr;
    auto fitting = free_.lower_bound(bytes);
    std::size_t size = (bytes + kRound - 1) / kRound * kRound;
    if (fitting != free_.end()) {
      size = fitting->first;
      block = fitting->second;
      free_.erase(fitting);
    } else {
      void* fresh = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (fresh == MAP_FAILED) return std::nullopt;
      madvise(fresh, size, MADV_HUGEPAGE);
      block = static_cast<std::byte*>(fresh);
    }
    return OwnedBytes(block, bytes, [this, size](std::byte* back) { free_.emplace(size, back); });
  }

 private:
  static constexpr std::size_t kRound = std::size_t{4} << 20;
  std::multimap<std::size_t, std::byte*> free_;
};

Timing read_samples(const std::string& path, ByteAllocator& memory) {
  ShardReaderOptions options;
  options.allocator = &memory;
  Timing timing;
  ShardReader reader(open_file(path).value(), path, options);
  while (true) {
    ReadStep step = reader.step();
    if (std::holds_alternative<ShardEnd>(step)) return timing;
    if (auto* failed = std::get_if<FailedSample>(&step)) throw ShardreelError(failed->error);
    ++timing.samples;
    for (const Field& field : std::get<Sample>(step).fields) {
      if (!field.in_memory) throw std::runtime_error("a content is not in memory");
      timing.bytes += field.size;
    }
  }
}

Timing read_blocks(const std::string& path) {
  static std::vector<char> block(std::size_t{1} << 20);
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  Timing timing;
  for (ssize_t got = 1; got > 0; timing.bytes += static_cast<std::uint64_t>(got)) {
    got = read(file, block.data(), block.size());
    if (got < 0) throw std::runtime_error("read failed");
  }
  close(file);
  return timing;
}

/// The page cache as reading fills it, not as writing does: readahead makes larger folios.
void fill_page_cache(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);  // the writer has it on disk already
  posix_fadvise(file, 0, 0, POSIX_FADV_SEQUENTIAL);
  close(file);
  read_blocks(path);
}

/// `samples` members of sizes from `least` to `most`, one a sample.
std::string write_shard(const fs::path& folder, std::uint64_t samples, std::size_t least,
                        std::size_t most) {
  std::mt19937_64 random(1);
  auto writer = ShardWriter::create({folder.string()}).value();
  for (std::uint64_t i = 0; i < samples; ++i) {
    const std::size_t size = least + random() % (most - least + 1);
    auto bytes = heap_allocator().try_allocate(size);
    for (std::byte& byte : bytes->span()) byte = static_cast<std::byte>(random() >> 56);
    const FieldToWrite field{"mp4",
                             memory_source(std::make_shared<const OwnedBytes>(std::move(*bytes)))};
    writer.write(fmt::format("{:08}", i), {&field, 1}).value();
  }
  return writer.finish().value().front().path;
}

/// Samples of Python webdataset a second and a second of CPU, measured within its process; zeros
/// where it is not there.
std::pair<double, double> python_rates(const std::string& script, const std::string& path) {
  const std::string command =
      fmt::format("/usr/bin/env python3 '{}' '{}' 2>/dev/null", script, path);
  FILE* pipe = popen(command.c_str(), "r");
  double wall = 0, cpu = 0;
  if (pipe == nullptr || std::fscanf(pipe, "%lf %lf", &wall, &cpu) != 2) wall = cpu = 0;
  if (pipe != nullptr) pclose(pipe);
  return {wall, cpu};
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

}  // namespace

int main(int argc, char** argv) try {
  CLI::App app{"Samples from tar shards in the page cache, against read(2) and webdataset"};
  std::string folder = (fs::temp_directory_path() / "shardreel-tar-read").string();
  std::string script = (fs::path(argv[0]).parent_path() / "tar_read_webdataset.py").string();
  int rounds = 9;
  std::uint64_t large = 200, small = 20000;
  bool check = false;
  app.add_option("--dir", folder, "where the shards are made (and left)");
  app.add_option("--webdataset", script, "benchmarks/tar_read_webdataset.py");
  app.add_option("--rounds", rounds)->check(CLI::Range(1, 1000));
  app.add_option("--large", large, "members of 1 to 4 MiB");
  app.add_option("--small", small, "members of 10 KB");
  app.add_flag("--check", check, "large at least 0.85 of read(2), small at least 10 of webdataset");
  CLI11_PARSE(app, argc, argv);

  fs::remove_all(folder);
  const std::string large_path = write_shard(fs::path(folder) / "large", large, 1 << 20, 4 << 20);
  const std::string small_path = write_shard(fs::path(folder) / "small", small, 10000, 10000);
  ReusedMemory memory;
  for (const std::string& path : {large_path, small_path}) {
    fill_page_cache(path);
    read_samples(path, memory);
  }

  json rows = json::array();
  std::vector<double> large_wall, large_cpu, small_wall, small_cpu, small_reads, python_wall;
  std::vector<double> python_cpu, times_wall, times_cpu;
  for (int round = 0; round < rounds; ++round) {
    const Timing blocks = timed([&] { return read_blocks(large_path); });
    const Timing samples = timed([&] { return read_samples(large_path, memory); });
    const Timing small_blocks = timed([&] { return read_blocks(small_path); });
    const Timing small_samples = timed([&] { return read_samples(small_path, memory); });
    const auto [by_wall, by_cpu] = python_rates(script, small_path);
    const auto rate = [](std::uint64_t bytes, double seconds) {
      return static_cast<double>(bytes) / seconds;
    };
    large_wall.push_back(rate(samples.bytes, samples.wall) / rate(blocks.bytes, blocks.wall));
    large_cpu.push_back(rate(samples.bytes, samples.cpu) / rate(blocks.bytes, blocks.cpu));
    small_reads.push_back(rate(small_samples.bytes, small_samples.cpu) /
                          rate(small_blocks.bytes, small_blocks.cpu));
    small_wall.push_back(rate(small_samples.samples, small_samples.wall));
    small_cpu.push_back(rate(small_samples.samples, small_samples.cpu));
    if (by_wall > 0) {
      python_wall.push_back(by_wall);
      python_cpu.push_back(by_cpu);
      times_wall.push_back(small_wall.back() / by_wall);
      times_cpu.push_back(small_cpu.back() / by_cpu);
    }
    rows.push_back({{"read_gb_s", rate(blocks.bytes, blocks.wall) / 1e9},
                    {"samples_gb_s", rate(samples.bytes, samples.wall) / 1e9},
                    {"read_cpu_s", blocks.cpu},
                    {"samples_cpu_s", samples.cpu},
                    {"small_samples_s", small_wall.back()},
                    {"small_samples_cpu_s", small_cpu.back()},
                    {"webdataset_samples_s", by_wall},
                    {"webdataset_samples_cpu_s", by_cpu}});
  }
  json report{{"benchmark", "tar_read"},
              {"rounds", rounds},
              {"large",
               {{"members", large},
                {"bytes", fs::file_size(large_path)},
                {"of_read", median(large_wall)},
                {"of_read_by_cpu", median(large_cpu)}}},
              {"small",
               {{"members", small},
                {"bytes", fs::file_size(small_path)},
                {"samples_per_second", median(small_wall)},
                {"samples_per_cpu_second", median(small_cpu)},
                {"of_read_by_cpu", median(small_reads)}}},
              {"runs", rows}};
  const bool compared = !times_wall.empty();
  if (compared) {
    report["small"]["webdataset_samples_per_second"] = median(python_wall);
    report["small"]["webdataset_samples_per_cpu_second"] = median(python_cpu);
    report["small"]["of_webdataset"] = median(times_wall);
    report["small"]["of_webdataset_by_cpu"] = median(times_cpu);
  }
  fmt::print("{}\n", report.dump(1));
  const bool good = median(large_wall) >= 0.85 && (!compared || median(times_wall) >= 10);
  return check && !good ? 1 : 0;
} catch (const std::exception& problem) {
  fmt::print(stderr, "tar_read: {}\n", problem.what());
  return 1;
}
