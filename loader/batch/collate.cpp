#include "loader/batch/collate.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstdint>

#include "loader/base/stream_copy.h"
#include "loader/batch/half.h"
#include "shardreel/batch.h"

namespace shardreel {
namespace {

constexpr std::size_t kMaxChannels = 3;

double channel_value(const std::vector<double>& values, std::size_t channel, double otherwise) {
  if (values.empty()) return otherwise;
  return values[std::min(channel, values.size() - 1)];
}

/// What each of the 256 values becomes, per channel. A table, not arithmetic in the loop: it is
/// exact (one rounding, from double), the same on every compiler, and as fast as memory here.
template <typename T>
using Table = std::array<std::array<T, 256>, kMaxChannels>;

template <typename T>
Table<T> make_table(const TransformOptions& options, std::size_t channels) {
  Table<T> table{};
  for (std::size_t c = 0; c < channels; ++c) {
    const double mean = channel_value(options.mean, c, 0);
    const double std = channel_value(options.std, c, 1);
    for (std::size_t v = 0; v < 256; ++v) {
      const double value = (static_cast<double>(v) / 255.0 - mean) / std;
      if constexpr (sizeof(T) == 1) {
        table[c][v] = static_cast<T>(v);
      } else if constexpr (sizeof(T) == 2) {
        table[c][v] = to_half(value);
      } else {
        table[c][v] = static_cast<T>(value);
      }
    }
  }
  return table;
}

/// Three channels side by side.
template <typename T>
void map_interleaved(const std::uint8_t* from, std::size_t pixels, const Table<T>& table, T* to) {
  for (std::size_t i = 0; i < pixels; ++i) {
    to[3 * i] = table[0][from[3 * i]];
    to[3 * i + 1] = table[1][from[3 * i + 1]];
    to[3 * i + 2] = table[2][from[3 * i + 2]];
  }
}

/// One channel out of `kStep` interleaved ones.
template <std::size_t kStep, typename T>
void map_channel(const std::uint8_t* from, std::size_t pixels, const std::array<T, 256>& table,
                 T* to) {
  for (std::size_t i = 0; i < pixels; ++i) {
    if constexpr (sizeof(T) == 1) {
      to[i] = from[kStep * i];  // no table: this loop becomes vector shuffles
    } else {
      to[i] = table[from[kStep * i]];
    }
  }
}

template <typename T>
void collate(const std::uint8_t* clip, const TransformOptions& options, std::size_t num_frames,
             std::size_t pixels, std::size_t channels, T* to) {
  const Table<T> table = make_table<T>(options, channels);
  if (channels == 1) {  // every layout is the same order
    map_channel<1>(clip, num_frames * pixels, table[0], to);
    return;
  }
  if (options.layout == Layout::kThwc) {
    map_interleaved(clip, num_frames * pixels, table, to);
    return;
  }
  const bool frames_first = options.layout == Layout::kTchw;
  for (std::size_t t = 0; t < num_frames; ++t) {
    for (std::size_t c = 0; c < channels; ++c) {
      const std::size_t plane = frames_first ? t * channels + c : c * num_frames + t;
      map_channel<3>(clip + t * pixels * channels + c, pixels, table[c], to + plane * pixels);
    }
  }
}

template <typename T>
std::vector<std::byte> table_bytes(const TransformOptions& options, std::size_t channels) {
  const Table<T> table = make_table<T>(options, channels);
  std::vector<std::byte> bytes(channels * sizeof table[0]);
  std::memcpy(bytes.data(), table.data(), bytes.size());
  return bytes;
}

}  // namespace

std::vector<std::byte> value_tables(const TransformOptions& options) {
  const std::size_t channels = options.color == ColorMode::kRgb ? 3 : 1;
  switch (options.dtype) {
    case DType::kFloat16: return table_bytes<std::uint16_t>(options, channels);
    case DType::kFloat32: return table_bytes<float>(options, channels);
    case DType::kUint8: break;
  }
  return {};
}

void collate_clip(std::span<const std::byte> clip, const TransformOptions& options,
                  std::uint32_t num_frames, std::span<std::byte> batch_part) {
  assert(batch_part.size() == clip.size() * element_bytes(options.dtype));
  if (num_frames == 0 || clip.empty()) return;
  const std::size_t channels = options.color == ColorMode::kRgb ? 3 : 1;
  const bool keeps_order = channels == 1 || options.layout == Layout::kThwc;
  if (options.dtype == DType::kUint8 && keeps_order) {
    stream_copy(batch_part.data(), clip.data(), clip.size());
    return;
  }
  const std::size_t pixels = clip.size() / num_frames / channels;
  const auto* from = reinterpret_cast<const std::uint8_t*>(clip.data());
  // A batch's clips start at multiples of an element from an aligned block.
  switch (options.dtype) {
    case DType::kUint8:
      return collate(from, options, num_frames, pixels, channels,
                     reinterpret_cast<std::uint8_t*>(batch_part.data()));
    case DType::kFloat16:
      return collate(from, options, num_frames, pixels, channels,
                     reinterpret_cast<std::uint16_t*>(batch_part.data()));
    case DType::kFloat32:
      return collate(from, options, num_frames, pixels, channels,
                     reinterpret_cast<float*>(batch_part.data()));
  }
}

}  // namespace shardreel
