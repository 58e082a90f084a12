// A hostile member: open, scan, plan, cut and decode whatever it claims to be.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>

#include "loader/decode/video_decoder.h"
#include "loader/demux/video_file.h"

namespace {

/// Counts frames; gives up after some, so that a long claim does not take all the time.
class Sink final : public shardreel::FrameSink {
 public:
  shardreel::Result<void> frame(const AVFrame&, const shardreel::WantedFrame&, bool) override {
    if (++frames_ < 64) return {};
    return shardreel::Error{shardreel::ErrorCode::kStopped, "enough", {}, {}, {}};
  }

 private:
  int frames_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto bytes = shardreel::heap_allocator().try_allocate(size);
  if (!bytes) return 0;
  if (size > 0) std::memcpy(bytes->span().data(), data, size);
  auto source =
      shardreel::memory_source(std::make_shared<const shardreel::OwnedBytes>(std::move(*bytes)));
  auto file = shardreel::VideoFile::open(std::move(source), {.field = "mp4"});
  if (!file) return 0;
  // A claimed picture of 16384 x 16384 is legal; decoding it is not what is tested here.
  if (std::uint64_t{file->facts().width} * file->facts().height > 1 << 20) return 0;
  std::vector<shardreel::Window> windows;
  const std::int64_t frames = std::min<std::int64_t>(file->facts().frame_count, 64);
  for (std::int64_t i = 0; i + 2 <= frames; i += 2) {
    windows.push_back({static_cast<std::uint64_t>(i / 2), {i, i + 1}});
  }
  if (windows.empty()) return 0;
  const std::size_t units = file->plan_units(std::move(windows));
  const auto decoder = shardreel::make_cpu_decoder();
  for (std::size_t i = 0; i < units; ++i) {
    auto unit = file->next_unit(i % 2 == 1);
    if (!unit || !*unit) break;
    Sink sink;
    (void)decoder->decode(**unit, sink, {});
  }
  return 0;
}
