#include "loader/media/strip_converter.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "loader/base/stream_copy.h"

namespace shardreel {
namespace {

constexpr std::size_t kChunkBytes = kChunk * kStripRows * sizeof(std::uint16_t);
constexpr std::size_t kColumnBytes = kStripRows * sizeof(std::uint16_t);

/// The taps of outputs from `first` on.
Taps taps_of(const SideFilter& filter, std::size_t first) {
  return {filter.first() + first,
          filter.doubled_weights() + first * static_cast<std::size_t>(filter.taps()),
          filter.taps()};
}

/// Rows that lie side by side to where they belong.
void copy_rows(const std::uint8_t* from, std::size_t row_bytes, std::size_t rows, std::uint8_t* to,
               std::size_t stride) {
  if (stride == row_bytes) return stream_copy(to, from, rows * row_bytes);
  for (std::size_t row = 0; row < rows; ++row) {
    stream_copy(to + row * stride, from + row * row_bytes, row_bytes);
  }
}

}  // namespace

bool StripConverter::takes(const Region& region, std::uint32_t width, std::uint32_t height) {
  return SideFilter::takes({0, width, region.left, region.width, false}) &&
         SideFilter::takes({0, height, region.top, region.height, false});
}

const SideFilter& StripConverter::filter_for(const FilterSpan& span) {
  auto found = std::find_if(filters_.begin(), filters_.end(),
                            [&](const SideFilter& filter) { return filter.span() == span; });
  if (found == filters_.end()) {
    if (filters_.size() < kMaxFilters) filters_.emplace_back();
    found = std::prev(filters_.end());
    found->build(span);
  }
  filters_.splice(filters_.begin(), filters_, found);
  return filters_.front();
}

StripConverter::Part StripConverter::part_for(const StripInput& input, std::size_t index,
                                              std::uint32_t width, std::uint32_t height,
                                              const Turn& turn) {
  const SourcePlane& plane = input.plane;
  const Region& region = input.region;
  Part part;
  part.input = &input;
  // A reversed filter gives the reversed picture: turning and flipping cost nothing more.
  part.along = &filter_for({plane.width, width, region.left, region.width,
                            turn.transpose ? turn.reverse_rows : turn.reverse_columns});
  part.down = &filter_for({plane.height, height, region.top, region.height,
                           turn.transpose ? turn.reverse_columns : turn.reverse_rows});
  part.columns = std::max<std::size_t>(part.along->end() - part.along->begin(), kGranule);
  // Too few columns: take some more on the left. What the component does not have is padded.
  part.first_column =
      plane.width < kGranule
          ? 0
          : std::min(part.along->begin(), plane.width - static_cast<std::uint32_t>(part.columns));
  part.filtered =
      reinterpret_cast<std::uint16_t*>(filtered_[index].reserve(part.columns * kColumnBytes));
  return part;
}

void StripConverter::filter_strip(const Part& part, std::size_t first_row, std::size_t rows) {
  const SourcePlane& plane = part.input->plane;
  const auto sample_bytes = static_cast<std::size_t>(plane.sample_bytes);
  ColumnsJob job;
  job.source = plane.data + part.first_column * sample_bytes;
  job.stride = plane.stride;
  job.sample_bytes = plane.sample_bytes;
  job.depth = plane.depth;
  job.columns = part.columns;
  job.filter = taps_of(*part.down, first_row);
  job.rows = rows;
  job.room = static_cast<std::uint16_t>(part.along->taps() / 2);
  job.work = reinterpret_cast<std::uint16_t*>(work_.reserve(kChunkBytes));
  job.to = part.filtered;
  if (plane.width < kGranule) {
    const auto [low, high] = std::minmax_element(job.filter.first, job.filter.first + rows);
    const std::int32_t end = *high + job.filter.count;
    const std::size_t row_bytes = kGranule * sample_bytes;
    job.origin = *low;
    auto* padded = reinterpret_cast<std::uint8_t*>(
        padded_.reserve(static_cast<std::size_t>(end - job.origin) * row_bytes));
    job.source = padded;
    for (std::int32_t y = job.origin; y < end; ++y, padded += row_bytes) {
      std::memcpy(padded, plane.data + y * plane.stride, plane.width * sample_bytes);
      std::memset(padded + plane.width * sample_bytes, 0, row_bytes - plane.width * sample_bytes);
    }
    job.stride = static_cast<std::ptrdiff_t>(row_bytes);
  }
  filter_columns(job);
}

void StripConverter::convert(std::span<const StripInput> inputs, std::uint32_t width,
                             std::uint32_t height, const Turn& turn, const IntegerMap& map,
                             StripTarget target) {
  std::array<Part, 3> parts;
  const auto outputs = static_cast<std::size_t>(map.outputs);
  const std::size_t row_bytes = width * outputs;
  StripJob job;
  job.map = map;
  job.width = width;
  job.sideways = turn.transpose;
  work_.reserve(std::max(kChunkBytes, kTileBytes));
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    parts[i] = part_for(inputs[i], i, width, height, turn);
    job.from[i] = parts[i].filtered;
    job.origin[i] = static_cast<std::int32_t>(parts[i].first_column);
    job.filter[i] = taps_of(*parts[i].along, 0);
  }
  // A strip that lies in whole rows is made in the nearest caches and leaves them at once.
  auto* laid = reinterpret_cast<std::uint8_t*>(laid_.reserve(row_bytes * kStripRows));
  for (std::size_t row = 0; row < height; row += kStripRows) {
    job.rows = std::min<std::size_t>(kStripRows, height - row);
    for (std::size_t i = 0; i < inputs.size(); ++i) filter_strip(parts[i], row, job.rows);
    job.work = reinterpret_cast<std::uint8_t*>(work_.reserve(0));
    job.to = turn.transpose ? target.first + row * outputs : laid;
    job.stride = turn.transpose ? target.stride : row_bytes;
    write_strip(job);
    if (!turn.transpose) {
      copy_rows(laid, row_bytes, job.rows, target.first + row * target.stride, target.stride);
    }
  }
}

std::uint64_t StripConverter::scratch_bytes() const noexcept {
  std::uint64_t total = work_.capacity() + laid_.capacity() + padded_.capacity();
  for (const AlignedBuffer& buffer : filtered_) total += buffer.capacity();
  for (const SideFilter& filter : filters_) total += filter.bytes() + sizeof filter;
  return total;
}

std::uint64_t StripConverter::scratch_bound(std::uint64_t width, std::uint64_t height,
                                            std::uint64_t largest) {
  // Padded rows: what a strip's filters span, at the largest ratio; words.
  const std::uint64_t rows =
      std::min<std::uint64_t>(height, (kStripRows + 2) * SideFilter::kMaxTaps);
  const std::uint64_t columns = std::max<std::uint64_t>({width, largest, kGranule});
  const std::uint64_t filter =
      SideFilter::bytes_bound(std::max(width, height), largest) + sizeof(SideFilter) + 64;
  return 3 * (columns * kColumnBytes + AlignedBuffer::kAlignment) +
         std::max(kChunkBytes, kTileBytes) + 3 * largest * kStripRows +
         rows * kGranule * sizeof(std::uint16_t) + 3 * AlignedBuffer::kAlignment +
         kMaxFilters * filter;
}

}  // namespace shardreel
