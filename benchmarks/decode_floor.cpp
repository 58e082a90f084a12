// The floor under every loader: bare libavcodec over just the packets that the windows take, and
// nothing else (no scaling, no clips, no shuffle). Prints one JSON object.

extern "C" {
#include <libavcodec/avcodec.h>
}
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "loader/base/mutex.h"
#include "loader/demux/video_file.h"
#include "loader/media/av_handles.h"
#include "loader/window/window_plan.h"
#include "shardreel/shard_reader.h"
#include "shardreel/shard_url.h"

namespace {

using namespace shardreel;

struct Total {
  std::atomic<std::uint64_t> clips{0}, frames{0}, packets{0};
};

/// Decode a unit with a decoder that knows nothing but packets.
void decode(Unit& unit, Total& total) {
  const AVCodecParameters& parameters = *unit.parameters->codec;
  const AVCodecContextPtr codec(avcodec_alloc_context3(avcodec_find_decoder(parameters.codec_id)));
  avcodec_parameters_to_context(codec.get(), &parameters);
  codec->thread_count = 1;
  if (avcodec_open2(codec.get(), nullptr, nullptr) < 0) throw std::runtime_error("open a decoder");
  const AVPacketPtr packet(av_packet_alloc());
  const AVFramePtr frame(av_frame_alloc());
  const auto drain = [&] {
    while (avcodec_receive_frame(codec.get(), frame.get()) == 0) {
      ++total.frames;
      av_frame_unref(frame.get());
    }
  };
  while (unit.packets->next(*packet).value()) {
    ++total.packets;
    avcodec_send_packet(codec.get(), packet.get());
    av_packet_unref(packet.get());
    drain();
  }
  avcodec_send_packet(codec.get(), nullptr);
  drain();
  total.clips += unit.windows.size();
}

/// Gives the samples of all shards to whoever asks.
class Samples {
 public:
  explicit Samples(const std::vector<std::string>& urls)
      : shards_(ShardList::parse(urls).value()) {}

  /// A sample's video; nothing at the end.
  std::optional<Field> next(ClipId& id) {
    const MutexLock lock(mutex_);
    for (;;) {
      if (!reader_) {
        if (shard_ == shards_.size()) return std::nullopt;
        const std::string url = shards_.at(shard_++);
        reader_.emplace(open_file(url).value(), url, ShardReaderOptions{});
      }
      auto step = reader_->step();
      if (std::holds_alternative<ShardEnd>(step)) {
        reader_.reset();
      } else if (auto* failed = std::get_if<FailedSample>(&step)) {
        throw ShardreelError(failed->error);
      } else {
        const Sample& sample = std::get<Sample>(step);
        for (const std::string& name : video_fields_) {
          const Field* video = sample.find(name);
          if (video == nullptr) continue;
          id = {0, shard_ - 1, sample.ordinal, 0};
          return *video;
        }
      }
    }
  }

 private:
  const ShardList shards_;
  const std::vector<std::string> video_fields_ = InputOptions().video_fields;
  Mutex mutex_;
  std::uint64_t shard_ SHARDREEL_GUARDED_BY(mutex_) = 0;
  std::optional<ShardReader> reader_ SHARDREEL_GUARDED_BY(mutex_);
};

void run(Samples& samples, const WindowOptions& windows, Total& total) {
  ClipId id;
  while (const auto video = samples.next(id)) {
    auto file = VideoFile::open(video->content, {.field = video->name}).value();
    file.plan_units(plan_windows(file.facts().times(), windows, 0, id).value());
    while (auto unit = file.next_unit(false).value()) decode(*unit, total);
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Bare decoding of the packets that windows take"};
  std::vector<std::string> urls;
  WindowOptions windows;
  std::uint32_t threads = 2;
  app.add_option("shards", urls, "tar shards of mp4 videos")->required();
  app.add_option("--windows-per-video", windows.windows_per_video, "0 = all");
  app.add_option("--frame-step", windows.frame_step);
  app.add_option("--decode-threads", threads);
  CLI11_PARSE(app, argc, argv);
  Samples samples(urls);
  Total total;
  const auto begin = std::chrono::steady_clock::now();
  {
    std::vector<std::jthread> workers;
    for (std::uint32_t i = 0; i < threads; ++i)
      workers.emplace_back([&] { run(samples, windows, total); });
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  const nlohmann::json result = {{"clips", total.clips.load()},
                                 {"frames_decoded", total.frames.load()},
                                 {"packets", total.packets.load()},
                                 {"seconds", seconds.count()}};
  fmt::print("{}\n", result.dump());
  return 0;
}
