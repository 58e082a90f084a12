// What does an index save? Over the videos of the given shards, from the page cache, each measure
// paired: every video (or run) with and without the index right after each other, in turns first.
//   open         until a video's facts are known
//   first_frame  until its first frame is decoded
//   window       bytes that one random 16-frame window takes from the shard
//   sparse       feeding one window of every video, clips a second and a CPU second
// Prints one JSON object; medians over the rounds.

#include <fmt/format.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "loader/decode/video_decoder.h"
#include "loader/demux/video_file.h"
#include "shardreel/loader.h"
#include "shardreel/shard_index.h"
#include "shardreel/shard_url.h"
#include "tools/commands/index_build.h"

namespace {

namespace fs = std::filesystem;
using namespace shardreel;
using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

class Counting final : public RandomAccess {
 public:
  explicit Counting(std::shared_ptr<const RandomAccess> of) : of_(std::move(of)) {}
  [[nodiscard]] std::uint64_t size() const noexcept override { return of_->size(); }
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into) const override {
    auto got = of_->read_at(offset, into);
    if (got) bytes += *got;
    return got;
  }
  mutable std::atomic<std::uint64_t> bytes = 0;

 private:
  std::shared_ptr<const RandomAccess> of_;
};

class NoFrames final : public FrameSink {
 public:
  Result<void> frame(const AVFrame&, const WantedFrame&, bool) override { return {}; }
};

struct Video {
  std::shared_ptr<const Counting> source;
  std::string field;
  ShardIndex index;
  std::uint64_t at = 0;  ///< in the index
};

std::vector<Video> list_videos(const std::string& url, const std::string& index_dir) {
  const auto file = open_file(url).value()->random_access();
  const ShardIndex index = ShardIndex::load(*shard_index_path(url, index_dir)).value();
  std::vector<Video> videos;
  for (std::uint64_t i = 0; i < index.count(); ++i) {
    const auto known = index.video(i);
    if (!known) continue;
    for (const IndexedField& field : index.sample(i).fields) {
      if (field.name != known->field) continue;
      videos.push_back({std::make_shared<Counting>(slice(file, field.content_offset, field.size)),
                        field.name, index, i});
    }
  }
  return videos;
}

VideoFile open(const Video& video, bool indexed) {
  const VideoFileOptions options{.field = video.field};
  if (!indexed) return VideoFile::open(video.source, options).value();
  const IndexedVideo known = video.index.read_video(video.at).value();
  return VideoFile::open_indexed(video.source, known.record, known.packets, options).value();
}

void decode(VideoFile& file, std::vector<std::int64_t> frames, VideoDecoder& decoder) {
  NoFrames sink;
  file.plan_units({{0, std::move(frames)}});
  auto unit = file.next_unit(false).value();
  decoder.decode(*unit, sink, std::stop_token()).value();
}

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

/// Two contestants, [0] without and [1] with the index; one figure a round.
struct Pair {
  std::vector<double> figures[2];
  [[nodiscard]] Json json(const char* unit) const {
    const double without = median(figures[0]), with = median(figures[1]);
    return {{"unit", unit},
            {"without", without},
            {"with", with},
            {"without_over_with", without / with},
            {"runs_without", figures[0]},
            {"runs_with", figures[1]}};
  }
};

Pair time_videos(const std::vector<Video>& videos, int rounds, bool first_frame) {
  Pair pair;
  const auto decoder = make_cpu_decoder();
  for (int round = 0; round < rounds; ++round) {
    double spent[2] = {0, 0};
    for (std::size_t v = 0; v < videos.size(); ++v) {
      for (const std::size_t turn : {std::size_t{0}, std::size_t{1}}) {
        const bool indexed = (turn + v + static_cast<std::size_t>(round)) % 2 == 1;
        const auto begin = Clock::now();
        VideoFile file = open(videos[v], indexed);
        if (first_frame) decode(file, {0}, *decoder);
        spent[indexed ? 1 : 0] += seconds_since(begin);
      }
    }
    for (const int i : {0, 1})
      pair.figures[i].push_back(spent[i] * 1e6 / static_cast<double>(videos.size()));
  }
  return pair;
}

Json window_bytes(const std::vector<Video>& videos, int rounds) {
  std::mt19937_64 random(1);
  std::uint64_t read[2] = {0, 0}, needed = 0, whole = 0;
  const AVPacketPtr packet(av_packet_alloc());
  for (int round = 0; round < rounds; ++round) {
    for (const Video& video : videos) {
      std::vector<std::int64_t> frames;
      for (const bool indexed : {false, true}) {
        video.source->bytes = 0;
        VideoFile file = open(video, indexed);
        const std::int64_t count = file.facts().frame_count;
        if (count < 16) break;
        if (frames.empty()) {
          const auto start =
              static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(count - 15));
          for (std::int64_t f = 0; f < 16; ++f) frames.push_back(start + f);
          whole += video.source->size();
        }
        file.plan_units({{0, frames}});
        const auto unit = file.next_unit(false).value();
        read[indexed ? 1 : 0] += video.source->bytes;
        if (!indexed) continue;
        while (true) {
          const PacketScope scope(*packet);
          if (!unit->packets->next(*packet).value()) break;
          needed += static_cast<std::uint64_t>(packet->size);
        }
      }
    }
  }
  const auto part = [](std::uint64_t a, std::uint64_t b) {
    return static_cast<double>(a) / static_cast<double>(b);
  };
  return {{"needed_bytes", needed},
          {"with", read[1]},
          {"without", read[0]},
          {"whole_videos", whole},
          {"with_over_needed", part(read[1], needed)},
          {"without_over_with", part(read[0], read[1])}};
}

/// CPU seconds of this process so far.
double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct Feeding {
  double clips_per_second = 0, clips_per_cpu_second = 0;
};

Feeding feed(const std::vector<std::string>& urls, const std::string& index_dir) {
  LoaderOptions options;
  options.input.urls = urls;
  options.input.index_dir = index_dir;
  options.window.windows_per_video = 1;
  options.batch.rank = 0;
  options.batch.world_size = 1;
  options.batch.drop_last = false;
  const auto begin = Clock::now();
  const double cpu = cpu_seconds();
  Loader loader = Loader::open(options);
  std::uint64_t clips = 0;
  while (const auto batch = loader.next()) clips += batch->size();
  const auto count = static_cast<double>(clips);
  return {count / seconds_since(begin), count / (cpu_seconds() - cpu)};
}

int run(const std::vector<std::string>& specs, int rounds) {
  const auto list = ShardList::parse(specs).value();
  std::string scratch = (fs::temp_directory_path() / "index_open.XXXXXX").string();
  if (mkdtemp(scratch.data()) == nullptr) throw std::runtime_error("no temporary folder");
  const std::string index_dir = scratch + "/index", nothing = scratch + "/nothing";
  std::vector<std::string> urls;
  std::vector<Video> videos;
  tools::IndexBuildOptions build;
  build.index_dir = index_dir;
  build.video_fields = InputOptions().video_fields;
  for (std::uint64_t i = 0; i < list.size(); ++i) {
    urls.push_back(fs::absolute(list.at(i)).string());
    const auto report = tools::index_shard(urls.back(), build, {});
    if (report.state != tools::IndexState::kWritten) throw std::runtime_error(report.reason);
    for (Video& video : list_videos(urls.back(), index_dir)) videos.push_back(std::move(video));
  }
  Json json;
  json["videos"] = videos.size();
  json["rounds"] = rounds;
  time_videos(videos, 1, true);  // everything is in the page cache
  json["open"] = time_videos(videos, rounds, false).json("microseconds a video");
  json["first_frame"] = time_videos(videos, rounds, true).json("microseconds a video");
  json["window"] = window_bytes(videos, rounds);
  Pair sparse, sparse_cpu;
  for (int round = 0; round < rounds; ++round) {
    for (const int turn : {0, 1}) {
      const int indexed = (turn + round) % 2;
      const Feeding fed = feed(urls, indexed == 1 ? index_dir : nothing);
      sparse.figures[indexed].push_back(fed.clips_per_second);
      sparse_cpu.figures[indexed].push_back(fed.clips_per_cpu_second);
    }
  }
  json["sparse"] = sparse.json("clips a second");
  json["sparse_cpu"] = sparse_cpu.json("clips a CPU second");
  fs::remove_all(scratch);
  fmt::print("{}\n", json.dump(1));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("What an index saves in opening videos; prints one JSON object.");
  std::vector<std::string> shards;
  int rounds = 7;
  app.add_option("shards", shards, "shards to read, patterns allowed")->required();
  app.add_option("--rounds", rounds, "rounds of each measure")->check(CLI::Range(1, 1000));
  CLI11_PARSE(app, argc, argv);
  try {
    return run(shards, rounds);
  } catch (const std::exception& error) {
    fmt::print(stderr, "index_open: {}\n", error.what());
    return 1;
  }
}
