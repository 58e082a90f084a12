#include "loader/decode/frame_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <new>
#include <utility>
#include <vector>

extern "C" {
#include <libavutil/imgutils.h>
#include <libavutil/pixdesc.h>
}

namespace shardreel {
namespace {

constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kAlignment = 64;  // of planes and rows: the widest vectors there are
constexpr int kPlanes = 4;

struct Slab {
  std::uint8_t* data = nullptr;
  std::size_t bytes = 0;
};

/// Where the planes of a picture lie in one block.
struct Layout {
  std::array<int, kPlanes> linesize{};
  std::array<std::size_t, kPlanes> offset{};
  std::array<bool, kPlanes> present{};
  std::size_t bytes = 0;
};

/// Lay a picture out as FFmpeg's own allocator would: sizes as the codec needs them, rows aligned
/// for its vector code. Negative: FFmpeg's error.
int lay_out(AVCodecContext& context, const AVFrame& frame, Layout& layout) {
  int width = frame.width, height = frame.height;
  std::array<int, AV_NUM_DATA_POINTERS> row_alignment{};
  avcodec_align_dimensions2(&context, &width, &height, row_alignment.data());
  const auto format = static_cast<AVPixelFormat>(frame.format);
  // Wider until every plane's rows are aligned: chroma rows are a fraction of luma rows.
  for (int status = 0;; width += width & ~(width - 1)) {
    if (width <= 0 || width > 1 << 24) return AVERROR(EINVAL);
    status = av_image_fill_linesizes(layout.linesize.data(), format, width);
    if (status < 0) return status;
    int unaligned = 0;
    for (int i = 0; i < kPlanes; ++i) {
      const int alignment =
          std::max(row_alignment[static_cast<std::size_t>(i)], static_cast<int>(kAlignment));
      unaligned |= layout.linesize[static_cast<std::size_t>(i)] % alignment;
    }
    if (unaligned == 0) break;
  }
  std::array<std::ptrdiff_t, kPlanes> strides{};
  std::copy(layout.linesize.begin(), layout.linesize.end(), strides.begin());
  std::array<std::size_t, kPlanes> sizes{};
  const int status = av_image_fill_plane_sizes(sizes.data(), format, height, strides.data());
  if (status < 0) return status;
  // Decoders may read a little behind a plane's end.
  constexpr std::size_t kBehind = kAlignment;
  for (std::size_t i = 0; i < kPlanes; ++i) {
    layout.present[i] = sizes[i] > 0;
    if (!layout.present[i]) continue;
    layout.offset[i] = layout.bytes;
    layout.bytes += (sizes[i] + kBehind + kAlignment - 1) / kAlignment * kAlignment;
  }
  return 0;
}

}  // namespace

struct FramePool::State : std::enable_shared_from_this<FramePool::State> {
  std::vector<Slab> idle;  ///< oldest first
  std::uint64_t used = 0, peak = 0, kept = 0;
  bool closed = false;

  ~State() { drop_idle(0); }

  void drop_idle(std::uint64_t most) noexcept {
    while (kept > most && !idle.empty()) {
      munmap(idle.front().data, idle.front().bytes);
      kept -= idle.front().bytes;
      idle.erase(idle.begin());
    }
  }

  /// A block of at least `need` bytes, or one without data.
  Slab take(std::size_t need) {
    need = (need + kPageBytes - 1) / kPageBytes * kPageBytes;
    // A block a little too large is better than a fresh one; a much larger one would be a lie in
    // the count of what a small video takes.
    for (auto slab = idle.rbegin(); slab != idle.rend(); ++slab) {
      if (slab->bytes < need || slab->bytes > need + need / 4) continue;
      const Slab found = *slab;
      idle.erase(std::next(slab).base());
      kept -= found.bytes;
      return account(found);
    }
    void* data = mmap(nullptr, need, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) return {};
    return account({static_cast<std::uint8_t*>(data), need});
  }

  Slab account(const Slab& slab) noexcept {
    used += slab.bytes;
    peak = std::max(peak, used);
    return slab;
  }

  void give_back(const Slab& slab) noexcept {
    used -= slab.bytes;
    try {
      if (!closed) {
        idle.push_back(slab);
        kept += slab.bytes;
        return;
      }
    } catch (const std::bad_alloc&) {  // no room to remember it: do not keep it
    }
    munmap(slab.data, slab.bytes);
  }
};

namespace {

/// A block in use; keeps the pool's accounts alive.
template <typename State>
struct Loan {
  std::shared_ptr<State> state;
  Slab slab;
  static void end(void* opaque, std::uint8_t*) noexcept {
    const std::unique_ptr<Loan> loan(static_cast<Loan*>(opaque));
    loan->state->give_back(loan->slab);
  }
};

}  // namespace

FramePool::FramePool() : state_(std::make_shared<State>()) {}

FramePool::~FramePool() {
  state_->closed = true;
  state_->drop_idle(0);
}

void FramePool::serve(AVCodecContext& context) noexcept {
  context.opaque = state_.get();
  context.get_buffer2 = &FramePool::get_buffer;
}

int FramePool::get_buffer(AVCodecContext* context, AVFrame* frame, int flags) noexcept {
  if (context->codec_type != AVMEDIA_TYPE_VIDEO ||
      (context->codec->capabilities & AV_CODEC_CAP_DR1) == 0)
    return avcodec_default_get_buffer2(context, frame, flags);
  Layout layout;
  if (const int status = lay_out(*context, *frame, layout); status < 0) return status;
  auto& state = *static_cast<State*>(context->opaque);
  try {
    auto loan = std::make_unique<Loan<State>>();
    loan->state = state.shared_from_this();
    loan->slab = state.take(layout.bytes);
    if (loan->slab.data == nullptr) return AVERROR(ENOMEM);
    frame->buf[0] =
        av_buffer_create(loan->slab.data, loan->slab.bytes, &Loan<State>::end, loan.get(), 0);
    if (frame->buf[0] == nullptr) {
      state.give_back(loan->slab);
      return AVERROR(ENOMEM);
    }
    for (std::size_t i = 0; i < kPlanes; ++i) {
      frame->linesize[i] = layout.present[i] ? layout.linesize[i] : 0;
      frame->data[i] = layout.present[i] ? loan->slab.data + layout.offset[i] : nullptr;
    }
    frame->extended_data = frame->data;
    loan.release();  // the buffer's now
    return 0;
  } catch (const std::bad_alloc&) {
    return AVERROR(ENOMEM);
  }
}

std::uint64_t FramePool::used_bytes() const noexcept { return state_->used; }
std::uint64_t FramePool::peak_bytes() const noexcept { return state_->peak; }
std::uint64_t FramePool::idle_bytes() const noexcept { return state_->kept; }
void FramePool::reset_peak() noexcept { state_->peak = state_->used; }
void FramePool::trim(std::uint64_t most_idle_bytes) noexcept { state_->drop_idle(most_idle_bytes); }

}  // namespace shardreel
