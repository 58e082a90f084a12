#include "loader/media/plane_scaler.h"

#include <fmt/format.h>
#include <zimg.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <memory>
#include <optional>

namespace shardreel {
namespace {

struct GraphFree {
  void operator()(zimg_filter_graph* graph) const noexcept { zimg_filter_graph_free(graph); }
};

/// What zimg asks of rows that it reads where they are.
bool is_aligned(const ComponentRows& rows) {
  constexpr std::size_t kVector = 32;
  return reinterpret_cast<std::uintptr_t>(rows.data()) % kVector == 0 &&
         static_cast<std::size_t>(std::abs(rows.stride())) % kVector == 0;
}

/// Note [zimg 3.0.4's kernels]
/// Its vector kernels were compared with its portable ones on some 10^5 random geometries. AVX2
/// gives the same samples where the component is at least 32 wide, the region starts in the first
/// rows (a ring of rows that is entered late is filled wrongly), the output is wider than one
/// column (which was wrong in 1 of 150 geometries), and not one side grows while the other shrinks.
/// The SSE kernels differ now and then by half of the range, the AVX-512 ones in 1 of 100
/// geometries (columns of a horizontal shrink by 2). So: AVX2 where it is right, else the portable
/// kernels; and rows far above the region are not shown to zimg.
zimg_cpu_type_e kernels_for(std::uint32_t width, const Region& region, const Plane& to) {
#if defined(__x86_64__)
  const bool mixed = region.width < to.width() && region.height > to.height();
  if (width >= 32 && to.width() > 1 && !mixed && __builtin_cpu_supports("avx2"))
    return ZIMG_CPU_X86_AVX2;
#else
  (void)width, (void)region, (void)to;
#endif
  return ZIMG_CPU_NONE;
}

/// The rows that the filter may touch, as [first, first + count).
struct RowRange {
  std::uint32_t first, count;
};

RowRange rows_for(const ComponentRows& from, const Region& region, std::uint32_t to_height) {
  // One row more on each side than the filter reaches, so that what is left out is never mirrored.
  const double reach = std::max(1.0, region.height / to_height) + 1;
  const double height = from.height();
  const double first = std::clamp(std::floor(region.top - reach), 0.0, height - 1);
  const double end = std::clamp(std::ceil(region.top + region.height + reach), first + 1, height);
  return {static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(end - first)};
}

/// Taps of the triangle filter.
std::uint64_t taps(double from, double to) {
  return 2 * static_cast<std::uint64_t>(std::ceil(std::max(1.0, from / to)));
}

/// What a graph's coefficients and tables take, by measurement of zimg 3.0.4: a few kilobytes, and
/// per output row and column 16-bit and float coefficients plus a matrix row with its overhead.
std::uint64_t graph_bytes(double from_width, double from_height, double to_width,
                          double to_height) {
  const auto side = [](double from, double to) {
    return static_cast<std::uint64_t>(to) * (taps(from, to) * 12 + 96) + 2048;
  };
  return side(from_width, to_width) + side(from_height, to_height);
}

struct RowSource {
  const ComponentRows* rows;
  std::uint32_t first;  // row that zimg calls 0
  std::byte* ring;
  std::size_t stride;
  unsigned mask;
};

/// zimg asks for columns [left, right) of one input row.
int fill_row(void* user, unsigned row, unsigned left, unsigned right) noexcept {
  const auto& source = *static_cast<const RowSource*>(user);
  const std::size_t sample = source.rows->sample_bytes();
  source.rows->read(source.first + row, left, std::min(right, source.rows->width()),
                    source.ring + (row & source.mask) * source.stride + left * sample);
  return 0;
}

}  // namespace

/// One zimg graph and what it was built for.
struct PlaneScaler::Graph {
  struct Key {
    std::uint32_t width, height, to_width, to_height;
    int depth;
    Region region;
    bool operator==(const Key&) const = default;
  };
  Key key;
  std::unique_ptr<zimg_filter_graph, GraphFree> graph;
  std::size_t work_bytes = 0;
  unsigned input_rows = 0;
};

PlaneScaler::PlaneScaler() = default;
PlaneScaler::~PlaneScaler() = default;

Result<PlaneScaler::Graph*> PlaneScaler::graph_for(const ComponentRows& from, std::uint32_t height,
                                                   const Region& region, const Plane& to) {
  const Graph::Key key{from.width(), height, to.width(), to.height(), from.sample_depth(), region};
  const auto found = std::find_if(graphs_.begin(), graphs_.end(),
                                  [&](const Graph& graph) { return graph.key == key; });
  if (found != graphs_.end()) {
    graphs_.splice(graphs_.begin(), graphs_, found);
    return &graphs_.front();
  }
  // Each component is a gray picture of its own to zimg. That gives one filter straight from the
  // samples to the output (as one YUV picture it may scale chroma twice, and converts colour before
  // scaling up), takes odd 4:2:0 sizes, and leaves matrix and range to the row kernels. "Limited"
  // makes the change to 16 bits a plain shift; no transfer or matrix is named, so none is applied.
  zimg_image_format source, target;
  zimg_image_format_default(&source, ZIMG_API_VERSION);
  zimg_image_format_default(&target, ZIMG_API_VERSION);
  source.width = from.width();
  source.height = height;
  source.pixel_type = from.sample_bytes() == 1 ? ZIMG_PIXEL_BYTE : ZIMG_PIXEL_WORD;
  source.depth = static_cast<unsigned>(from.sample_depth());
  source.color_family = target.color_family = ZIMG_COLOR_GREY;
  source.pixel_range = target.pixel_range = ZIMG_RANGE_LIMITED;
  source.active_region = {region.left, region.top, region.width, region.height};
  target.width = to.width();
  target.height = to.height();
  target.pixel_type = ZIMG_PIXEL_WORD;
  target.depth = 16;
  zimg_graph_builder_params parameters;
  zimg_graph_builder_params_default(&parameters, ZIMG_API_VERSION);
  parameters.resample_filter = ZIMG_RESIZE_BILINEAR;
  parameters.dither_type = ZIMG_DITHER_NONE;
  parameters.cpu_type = kernels_for(from.width(), region, to);

  Graph graph;
  graph.key = key;
  graph.graph.reset(zimg_filter_graph_build(&source, &target, &parameters));
  if (graph.graph == nullptr ||
      zimg_filter_graph_get_tmp_size(graph.graph.get(), &graph.work_bytes) != ZIMG_ERROR_SUCCESS ||
      zimg_filter_graph_get_input_buffering(graph.graph.get(), &graph.input_rows) !=
          ZIMG_ERROR_SUCCESS) {
    std::array<char, 256> text{};
    zimg_get_last_error(text.data(), text.size());
    return Error{
        ErrorCode::kUnsupported,
        fmt::format("scaling a {}x{} plane of {} bits, region {}x{} at ({}, {}), to {}x{}: {}",
                    from.width(), height, from.sample_depth(), region.width, region.height,
                    region.left, region.top, to.width(), to.height(), text.data())};
  }
  if (graphs_.size() == kMaxGraphs) graphs_.pop_back();
  graphs_.push_front(std::move(graph));
  return &graphs_.front();
}

Result<void> PlaneScaler::scale(const ComponentRows& from, const Region& region, Plane& to) {
  const RowRange range = rows_for(from, region, to.height());
  Region shown = region;
  shown.top -= range.first;
  auto graph = graph_for(from, range.count, shown, to);
  if (!graph) return graph.error();
  const Graph& chosen = **graph;
  const bool in_place = from.direct() && is_aligned(from);

  zimg_image_buffer_const input{};
  zimg_image_buffer output{};
  input.version = output.version = ZIMG_API_VERSION;
  RowSource source{};
  if (in_place) {
    input.plane[0] = {from.data() + static_cast<std::ptrdiff_t>(range.first) * from.stride(),
                      from.stride(), ZIMG_BUFFER_MAX};
  } else {
    source.mask = zimg_select_buffer_mask(std::min(chosen.input_rows, range.count));
    const std::size_t rows = std::min<std::size_t>(std::size_t{source.mask} + 1, range.count);
    source.rows = &from;
    source.first = range.first;
    source.stride = AlignedBuffer::rounded(from.width() * from.sample_bytes());
    source.ring = rows_.reserve(source.stride * rows);
    input.plane[0] = {source.ring, static_cast<std::ptrdiff_t>(source.stride), source.mask};
  }
  output.plane[0] = {to.row(0), static_cast<std::ptrdiff_t>(to.stride_bytes()), ZIMG_BUFFER_MAX};
  std::byte* work = work_.reserve(chosen.work_bytes);
  if (zimg_filter_graph_process(chosen.graph.get(), &input, &output, work,
                                in_place ? nullptr : fill_row, &source, nullptr,
                                nullptr) != ZIMG_ERROR_SUCCESS) {
    std::array<char, 256> text{};
    zimg_get_last_error(text.data(), text.size());
    return Error{ErrorCode::kInternal, fmt::format("scaling a {}x{} plane: {}", from.width(),
                                                   from.height(), text.data())};
  }
  return {};
}

std::uint64_t PlaneScaler::scratch_bytes() const noexcept {
  std::uint64_t total = work_.capacity() + rows_.capacity();
  for (const Graph& graph : graphs_) {
    total += graph_bytes(graph.key.region.width, graph.key.region.height, graph.key.to_width,
                         graph.key.to_height);
  }
  return total;
}

std::uint64_t PlaneScaler::scratch_bound(std::uint64_t width, std::uint64_t height,
                                         std::uint64_t smallest, std::uint64_t largest) {
  // A ring of rows per filter, as high as the filter rounded to a power of 2 (whole where a picture
  // is low), twice: as read, and as words; and blocks of 32 rows for the filter along the row.
  const std::uint64_t filter = taps(static_cast<double>(height), static_cast<double>(smallest));
  const std::uint64_t rows = std::min(std::bit_ceil(filter + 64), height + 64) + 64;
  const std::uint64_t row = AlignedBuffer::rounded(2 * std::max(width, largest)) + 128;
  // `graph_bytes` with taps <= 2 * (from / to + 1).
  const std::uint64_t graph = 24 * (width + height) + 2 * 120 * largest + 4096;
  return 3 * rows * row + 65536 + kMaxGraphs * graph;
}

}  // namespace shardreel
