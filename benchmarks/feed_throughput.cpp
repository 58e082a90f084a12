// How much CPU does feeding cost? Three contestants over the same shards, interleaved:
//   loader  this library: decode, scale to 224x224 RGB, windows of 16 frames, shuffle, batches; 2
//   decode threads ffmpeg  the ffmpeg program: decode, bilinear scale, rgb24, to null; two
//   single-threaded processes, half of the
//           videos each, through the concat demuxer
//   floor   bare libavcodec decoding of every video, two threads, nothing else
// Every contestant runs as processes of its own; CPU seconds are the kernel's. Prints one JSON
// object.

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
}
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "shardreel/loader.h"
#include "shardreel/shard_reader.h"
#include "shardreel/shard_url.h"

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

struct Run {
  double cpu_seconds = 0;
  double wall_seconds = 0;
};

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

/// Run bodies as child processes at the same time; a body's result is its exit status.
Run run_children(const std::vector<std::function<int()>>& bodies) {
  const auto begin = Clock::now();
  std::vector<pid_t> children;
  for (const auto& body : bodies) {
    const pid_t child = fork();
    if (child == 0) _exit(body());
    children.push_back(child);
  }
  Run run;
  for (const pid_t child : children) {
    int status = 0;
    rusage usage{};
    if (wait4(child, &status, 0, &usage) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
      throw std::runtime_error("a contestant failed");
    }
    run.cpu_seconds += seconds(usage.ru_utime) + seconds(usage.ru_stime);
  }
  run.wall_seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  return run;
}

/// Write the videos of the shards as files, for the contestants that cannot read shards.
std::vector<std::string> extract(const std::vector<std::string>& urls, const fs::path& into) {
  std::vector<std::string> paths;
  const auto list = shardreel::ShardList::parse(urls).value();
  for (std::uint64_t i = 0; i < list.size(); ++i) {
    shardreel::ShardReader reader(shardreel::open_file(list.at(i)).value(), list.at(i), {});
    for (;;) {
      auto step = reader.step();
      if (std::holds_alternative<shardreel::ShardEnd>(step)) break;
      if (auto* failed = std::get_if<shardreel::FailedSample>(&step)) {
        throw shardreel::ShardreelError(failed->error);
      }
      const auto* video = std::get<shardreel::Sample>(step).find("mp4");
      if (video == nullptr) continue;
      paths.push_back((into / fmt::format("{:06d}.mp4", paths.size())).string());
      std::ofstream(paths.back(), std::ios::binary) << video->text().value();
    }
  }
  return paths;
}

int run_loader(const std::vector<std::string>& urls, std::uint32_t threads, double* first_batch) {
  shardreel::LoaderOptions options;
  options.input.urls = urls;
  options.resource.decode_threads = threads;
  // 256 clips in the shuffle buffer: what other loaders were measured with.
  options.resource.shuffle_bytes = std::to_string(std::uint64_t{256} * 16 * 224 * 224 * 3);
  shardreel::Loader loader = shardreel::Loader::open(options);
  std::uint64_t clips = 0;
  while (auto batch = loader.next()) clips += batch->size();
  if (first_batch != nullptr) *first_batch = loader.metrics().first_batch_seconds;
  return clips > 0 ? 0 : 1;
}

int run_ffmpeg(const std::string& concat_list) {
  execlp("ffmpeg", "ffmpeg", "-nostdin", "-v", "error", "-threads", "1", "-filter_threads", "1",
         "-f", "concat", "-safe", "0", "-i", concat_list.c_str(), "-map", "0:v:0", "-vf",
         "scale=224:224:flags=bilinear,format=rgb24", "-f", "null", "-",
         static_cast<char*>(nullptr));
  return 127;
}

bool decode_file(const std::string& path) {
  AVFormatContext* format = nullptr;
  if (avformat_open_input(&format, path.c_str(), nullptr, nullptr) < 0) return false;
  const AVCodecParameters* parameters = format->streams[0]->codecpar;
  AVCodecContext* codec = avcodec_alloc_context3(avcodec_find_decoder(parameters->codec_id));
  avcodec_parameters_to_context(codec, parameters);
  codec->thread_count = 1;
  bool good = avcodec_open2(codec, nullptr, nullptr) == 0;
  AVPacket* packet = av_packet_alloc();
  AVFrame* frame = av_frame_alloc();
  const auto drain = [&] {
    while (avcodec_receive_frame(codec, frame) == 0) av_frame_unref(frame);
  };
  while (good && av_read_frame(format, packet) >= 0) {
    if (packet->stream_index == 0) good = avcodec_send_packet(codec, packet) == 0;
    av_packet_unref(packet);
    drain();
  }
  avcodec_send_packet(codec, nullptr);
  drain();
  av_frame_free(&frame);
  av_packet_free(&packet);
  avcodec_free_context(&codec);
  avformat_close_input(&format);
  return good;
}

int run_floor(const std::vector<std::string>& videos, std::uint32_t threads) {
  std::atomic<std::size_t> next{0};
  std::atomic<bool> good{true};
  std::vector<std::jthread> workers;
  for (std::uint32_t i = 0; i < threads; ++i) {
    workers.emplace_back([&] {
      for (std::size_t n = next++; n < videos.size(); n = next++)
        good = decode_file(videos[n]) && good;
    });
  }
  workers.clear();
  return good ? 0 : 1;
}

nlohmann::json summary(const std::vector<Run>& runs) {
  const auto median = [&](double Run::*member) {
    std::vector<double> values;
    for (const Run& run : runs) values.push_back(run.*member);
    std::ranges::sort(values);
    return values[values.size() / 2];
  };
  nlohmann::json all = nlohmann::json::array();
  for (const Run& run : runs) all.push_back({run.cpu_seconds, run.wall_seconds});
  return {{"cpu_seconds", median(&Run::cpu_seconds)},
          {"wall_seconds", median(&Run::wall_seconds)},
          {"runs_cpu_wall", all}};
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"CPU seconds of feeding, against the ffmpeg program and bare decoding"};
  std::vector<std::string> urls;
  std::string work;
  std::uint32_t rounds = 5;
  app.add_option("shards", urls, "shards with H.264 mp4 videos")->required();
  app.add_option("--work", work, "folder for extracted videos")->required();
  app.add_option("--rounds", rounds, "interleaved rounds after one warm-up");
  CLI11_PARSE(app, argc, argv);
  try {
    fs::create_directories(work);
    const auto videos = extract(urls, work);
    std::vector<std::string> lists;
    for (int half = 0; half < 2; ++half) {
      lists.push_back((fs::path(work) / fmt::format("half{}.txt", half)).string());
      std::ofstream list(lists.back());
      for (std::size_t i = static_cast<std::size_t>(half); i < videos.size(); i += 2) {
        list << "file '" << fs::absolute(videos[i]).string() << "'\n";
      }
    }
    std::vector<Run> loader;
    std::vector<Run> ffmpeg;
    std::vector<Run> floor;
    for (std::uint32_t round = 0; round <= rounds; ++round) {
      const Run a = run_children({[&] { return run_loader(urls, 2, nullptr); }});
      const Run b = run_children(
          {[&] { return run_ffmpeg(lists[0]); }, [&] { return run_ffmpeg(lists[1]); }});
      const Run c = run_children({[&] { return run_floor(videos, 2); }});
      if (round == 0) continue;
      loader.push_back(a);
      ffmpeg.push_back(b);
      floor.push_back(c);
    }
    double first_batch = 0;
    run_loader(urls, 2, &first_batch);
    nlohmann::json result = {{"videos", videos.size()},
                             {"loader", summary(loader)},
                             {"ffmpeg", summary(ffmpeg)},
                             {"floor", summary(floor)},
                             {"first_batch_seconds", first_batch}};
    // Ratios within a round, then their median: a machine that gets faster meanwhile cancels out.
    const auto over_loader = [&](const std::vector<Run>& other) {
      std::vector<double> ratios;
      for (std::size_t i = 0; i < loader.size(); ++i) {
        ratios.push_back(other[i].cpu_seconds / loader[i].cpu_seconds);
      }
      std::ranges::sort(ratios);
      return ratios[ratios.size() / 2];
    };
    result["ffmpeg_over_loader_cpu"] = over_loader(ffmpeg);
    result["floor_over_loader_cpu"] = over_loader(floor);
    fmt::print("{}\n", result.dump(2));
  } catch (const std::exception& error) {
    fmt::print(stderr, "feed_throughput: {}\n", error.what());
    return 1;
  }
  return 0;
}
