#include "tests/support/test_shards.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>

#include "shardreel/shard_writer.h"
#include "tests/support/test_media.h"

namespace shardreel::testing {
namespace {

/// Undo the limited range: what a luma of `y` looks like in gray.
int gray_of(int y) { return static_cast<int>(std::lround((y - 16) * 255.0 / 219.0)); }

}  // namespace

std::shared_ptr<const RandomAccess> content_of(const std::string& text) {
  auto block = heap_allocator().try_allocate(text.size()).value();
  std::memcpy(block.span().data(), text.data(), text.size());
  return memory_source(std::make_shared<const OwnedBytes>(std::move(block)));
}

std::shared_ptr<const RandomAccess> file_content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return content_of({std::istreambuf_iterator<char>(file), {}});
}

std::string numbered_clip(int number, int frames, const std::string& codec_arguments) {
  return make_clip(
      fmt::format("-f lavfi -i nullsrc=s=64x48:r=25 -vf "
                  "\"geq=lum='if(lt(X,32),16+2*N,16+8*{})':cb=128:cr=128\" -frames:v {} {} "
                  "-pix_fmt yuv420p",
                  number, frames, codec_arguments),
      "mp4");
}

NumberedShards make_numbered_shards(const ScratchDir& dir, int shards, int videos) {
  static constexpr std::array<const char*, 4> kCodecs{
      "-c:v libx264 -qp 4 -g 12 -bf 2", "-c:v libx264 -qp 4 -g 250 -bf 0",
      "-c:v mpeg4 -q:v 2 -g 25 -bf 0", "-c:v libx264 -qp 4 -g 30 -bf 3"};
  NumberedShards made;
  std::vector<std::unique_ptr<ShardWriter>> writers;
  for (int s = 0; s < shards; ++s) {
    auto writer =
        ShardWriter::create({.directory = dir.path().string(), .prefix = fmt::format("s{}-", s)});
    writers.push_back(std::make_unique<ShardWriter>(std::move(writer.value())));
  }
  for (int v = 0; v < videos; ++v) {
    const int frames = 17 + v * 13 % 64;
    made.frames.push_back(frames);
    const auto clip =
        numbered_clip(v, frames, kCodecs[static_cast<std::size_t>(v) % kCodecs.size()]);
    const std::vector<FieldToWrite> fields{
        {"mp4", file_content(clip)},
        {"cls", content_of(std::to_string(v))},
        {"json", content_of(fmt::format("{{\"frames\": {}}}", frames))}};
    writers[static_cast<std::size_t>(v % shards)]->write(fmt::format("v{:03d}", v), fields).value();
  }
  for (const auto& writer : writers) {
    const auto written = writer->finish().value();
    for (const WrittenShard& shard : written) made.paths.push_back(shard.path);
  }
  return made;
}

std::string check_numbered_clip(const Batch& batch, std::size_t clip) {
  return check_numbered_pixels(batch.clips[clip], batch.clip_bytes(clip));
}

std::string check_numbered_pixels(const ClipInfo& info, std::span<const std::byte> pixels) {
  constexpr std::size_t kWidth = 64;
  constexpr std::size_t kHeight = 48;
  constexpr int kTolerance = 2;  // half the distance of two neighbours on the left is 1.16
  const int video = std::atoi(info.sample->key.c_str() + 1);
  const std::string* cls = info.sample->find("cls");
  if (cls == nullptr || std::atoi(cls->c_str()) != video) return "the label is not the video's";
  for (std::size_t t = 0; t < info.frame_index.size(); ++t) {
    const std::byte* frame = pixels.data() + t * kWidth * kHeight;
    // The mean over a patch away from the edges: exact to a fraction of a level.
    const auto mean = [&](std::size_t x0) {
      double sum = 0;
      for (std::size_t y = 16; y < 32; ++y) {
        for (std::size_t x = x0; x < x0 + 16; ++x) {
          sum += static_cast<double>(std::to_integer<int>(frame[y * kWidth + x]));
        }
      }
      return sum / 256.0;
    };
    const int expected = gray_of(16 + 2 * static_cast<int>(info.frame_index[t]));
    if (std::abs(mean(8) - expected) > kTolerance * 0.58) {
      return fmt::format("{} slot {}: frame {} should be {}, is {:.2f}", info.sample->key, t,
                         info.frame_index[t], expected, mean(8));
    }
    if (std::abs(mean(40) - gray_of(16 + 8 * video)) > kTolerance) {
      return fmt::format("{} slot {}: pixels of another video", info.sample->key, t);
    }
  }
  return {};
}

}  // namespace shardreel::testing
