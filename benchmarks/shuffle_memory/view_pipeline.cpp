#include "benchmarks/shuffle_memory/view_pipeline.h"

extern "C" {
#include <libavutil/frame.h>
}

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "loader/decode/video_decoder.h"
#include "loader/demux/video_file.h"
#include "loader/media/frame_converter.h"
#include "loader/media/frame_geometry.h"
#include "loader/read/shard_plan.h"
#include "loader/shuffle/shuffle_order.h"
#include "loader/window/window_plan.h"
#include "shardreel/shard_reader.h"
#include "shardreel/shard_url.h"

namespace shardreel::bench {
namespace {

using Frames = std::vector<std::byte>;  // [frames, H, W, 3]

/// Writes every frame of a video behind the other.
class WholeVideo final : public FrameSink {
 public:
  WholeVideo(const TransformOptions& options, FrameConverter& converter, std::int64_t frames)
      : options_(options),
        converter_(converter),
        slot_bytes_(slot_bytes(options)),
        frames_(std::make_shared<Frames>(static_cast<std::size_t>(frames) * slot_bytes_)) {}

  Result<void> frame(const AVFrame& frame, const WantedFrame& wanted, bool) override {
    const auto geometry =
        frame_geometry(static_cast<std::uint32_t>(frame.width),
                       static_cast<std::uint32_t>(frame.height), {}, options_, {});
    const auto at = static_cast<std::size_t>(wanted.frame) * slot_bytes_;
    return converter_.convert(frame, geometry, std::span(*frames_).subspan(at, slot_bytes_));
  }

  [[nodiscard]] std::shared_ptr<const Frames> take() { return std::move(frames_); }

 private:
  const TransformOptions& options_;
  FrameConverter& converter_;
  const std::uint64_t slot_bytes_;
  std::shared_ptr<Frames> frames_;
};

/// A window: T frames of a video that it keeps alive.
struct View {
  std::shared_ptr<const Frames> video;
  std::size_t offset = 0;
};

class ViewPipeline {
 public:
  ViewPipeline(const LoaderOptions& options, std::uint64_t shuffle_bytes)
      : options_(options),
        slot_bytes_(slot_bytes(options.transform)),
        order_({.capacity_bytes = shuffle_bytes,
                .min_fill = options.resource.min_fill,
                .seed = options.batch.seed}),
        decoder_(make_cpu_decoder()),
        converter_(make_frame_converter(options.transform)) {
    order_.begin(0);
  }

  /// Decode a sample's video and put its windows into the shuffle.
  void add(const ClipId& sample, const Field& field) {
    auto file = VideoFile::open(field.content, {.field = field.name}).value();
    const auto windows =
        plan_windows(file.facts().times(), options_.window, options_.batch.seed, sample).value();
    const auto video = decode(file);
    for (const Window& window : windows) {
      ClipId id = sample;
      id.window = window.ordinal;
      views_[id] = {video, static_cast<std::size_t>(window.frames.front()) * slot_bytes_};
      order_.feed(id, slot_bytes_ * options_.window.num_frames, 1, leaving_);
    }
  }

  void drain() { order_.drain(leaving_); }

  /// Copy a full batch out, or the rest; false when there is no full one.
  bool take(std::vector<ClipId>& ids, std::vector<std::byte>& pixels, bool rest) {
    const std::size_t size = std::min<std::size_t>(options_.batch.batch_size, leaving_.size());
    if (size == 0 || (!rest && size < options_.batch.batch_size)) return false;
    const std::uint64_t clip_bytes = slot_bytes_ * options_.window.num_frames;
    ids.assign(leaving_.begin(), leaving_.begin() + static_cast<std::ptrdiff_t>(size));
    leaving_.erase(leaving_.begin(), leaving_.begin() + static_cast<std::ptrdiff_t>(size));
    pixels.resize(size * clip_bytes);
    for (std::size_t i = 0; i < size; ++i) {
      const View& view = views_.at(ids[i]);
      std::memcpy(pixels.data() + i * clip_bytes, view.video->data() + view.offset, clip_bytes);
      views_.erase(ids[i]);
    }
    return true;
  }

  [[nodiscard]] std::uint64_t windows() const { return order_.size(); }

 private:
  std::shared_ptr<const Frames> decode(VideoFile& file) {
    Window all;
    all.frames.resize(static_cast<std::size_t>(file.facts().frame_count));
    std::iota(all.frames.begin(), all.frames.end(), std::int64_t{0});
    WholeVideo sink(options_.transform, *converter_, file.facts().frame_count);
    file.plan_units({all});
    auto unit = file.next_unit(false).value();
    decoder_->decode(*unit, sink, {}).value();
    return sink.take();
  }

  const LoaderOptions& options_;
  const std::uint64_t slot_bytes_;
  ShuffleOrder order_;
  std::unique_ptr<VideoDecoder> decoder_;
  std::unique_ptr<FrameConverter> converter_;
  std::map<ClipId, View> views_;
  std::vector<ClipId> leaving_;
};

}  // namespace

void run_view_pipeline(
    const LoaderOptions& options, std::uint64_t shuffle_bytes,
    const std::function<void(std::span<const ClipId>, std::span<const std::byte>)>& batch,
    const std::function<void(std::uint64_t windows)>& held) {
  const ShardList shards = ShardList::parse(options.input.urls).value();
  const auto share = plan_shards(shards.size(), ShuffleMode::kAll, options.batch.seed, 0, 0, 1);
  ViewPipeline pipeline(options, shuffle_bytes);
  std::vector<ClipId> ids;
  std::vector<std::byte> pixels;
  // As the loader does: the shards of a turn give one sample each.
  struct Open {
    std::uint64_t number = 0;
    std::optional<ShardReader> reader;
  };
  std::vector<Open> open(std::min<std::size_t>(options.input.open_shards, share.shards.size()));
  std::size_t next = 0;
  for (std::size_t turn = 0; !open.empty();) {
    Open& shard = open[turn];
    if (!shard.reader) {
      if (next == share.shards.size()) {
        open.erase(open.begin() + static_cast<std::ptrdiff_t>(turn));
        if (turn == open.size()) turn = 0;
        continue;
      }
      shard.number = share.shards[next++];
      const std::string url = shards.at(shard.number);
      shard.reader.emplace(open_file(url).value(), url, ShardReaderOptions{});
    }
    auto step = shard.reader->step();
    if (std::holds_alternative<ShardEnd>(step)) {
      shard.reader.reset();
      continue;
    }
    turn = (turn + 1) % open.size();
    if (auto* failed = std::get_if<FailedSample>(&step)) throw ShardreelError(failed->error);
    const auto& sample = std::get<Sample>(step);
    const Field* video = sample.find("mp4");
    if (video == nullptr) continue;
    pipeline.add({0, shard.number, sample.ordinal, 0}, *video);
    while (pipeline.take(ids, pixels, false)) batch(ids, pixels);
    held(pipeline.windows());
  }
  pipeline.drain();
  while (pipeline.take(ids, pixels, true)) batch(ids, pixels);
}

}  // namespace shardreel::bench
