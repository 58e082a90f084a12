#pragma once
// The arithmetic of a frame's way into a batch: crop, scale, colour, turn, rounding, type. Written
// once: the CUDA kernel, host devices and the tests run these functions. Plain C++17 for nvcc.

#include <cmath>
#include <cstdint>

#ifdef __CUDACC__
#define SHARDREEL_BOTH __host__ __device__
#else
#define SHARDREEL_BOTH
#endif

namespace shardreel {

/// Samples of one component where the decoder left them. Pointers are the device's.
struct PixelPlane {
  const std::uint8_t* data = nullptr;  ///< of the first sample, after the frame's own crop
  std::int64_t pitch = 0;              ///< bytes between rows
  std::int32_t step = 1;               ///< bytes between samples of a row
  std::int32_t wide = 0;               ///< samples are words (native order), not bytes
  std::int32_t shift = 0;              ///< of a word, down to the code value (P010: 6)
};

/// The filter of one side, as in SideFilter: output i is the sum of weights[i * count + t] *
/// input[first[i] + t], in 1/65536.
struct PixelTaps {
  const std::int32_t* first = nullptr;
  const std::uint16_t* weights = nullptr;
  std::int32_t count = 0;
};

/// A component with the filters of both of its sides.
struct PixelInput {
  PixelPlane plane;
  PixelTaps along, down;
};

enum class PixelType : std::int32_t { kUint8, kFloat16, kFloat32 };
constexpr std::int64_t pixel_type_bytes(PixelType type) {
  return type == PixelType::kUint8 ? 1 : type == PixelType::kFloat16 ? 2 : 4;
}

/// One frame into one slot (or one plane of it). Read along the filters, which are reversed where
/// the picture is; with `transpose`, the slot's columns are the picture's rows.
struct PixelJob {
  PixelInput input[3];
  std::int32_t inputs = 3, outputs = 3;  ///< 1 or 3
  float factor[3][3] = {};               ///< on code values, to 0..255
  float offset[3] = {};
  std::int32_t transpose = 0;

  std::int32_t width = 0, height = 0;                                     ///< of the slot
  std::int32_t left = 0, top = 0, picture_width = 0, picture_height = 0;  ///< in the slot, turned
  std::uint8_t bars = 0;  ///< value around the picture

  PixelType type = PixelType::kUint8;
  /// What each of 256 values becomes, [outputs][256] of the type; unused for kUint8.
  const void* table = nullptr;
  void* slot = nullptr;
  std::int64_t pixel_step = 0, row_step = 0, channel_step = 0;  ///< elements
};

SHARDREEL_BOTH inline std::uint32_t pixel_sample(const PixelPlane& plane, const std::uint8_t* row,
                                                 std::int32_t x) {
  const std::uint8_t* at = row + static_cast<std::int64_t>(x) * plane.step;
  // Planes of words may begin at odd addresses in host memory.
  return plane.wide == 0 ? at[0]
                         : ((static_cast<std::uint32_t>(at[1]) << 8) | at[0]) >> plane.shift;
}

/// A filtered sample as a code value with fraction. The sums are integers, so that every machine
/// gives the same; only the end is a float.
SHARDREEL_BOTH inline float pixel_filtered(const PixelInput& input, std::int32_t x,
                                           std::int32_t y) {
  const std::uint16_t* across =
      input.along.weights + static_cast<std::int64_t>(x) * input.along.count;
  const std::uint16_t* down = input.down.weights + static_cast<std::int64_t>(y) * input.down.count;
  const std::uint8_t* row =
      input.plane.data + static_cast<std::int64_t>(input.down.first[y]) * input.plane.pitch;
  const std::int32_t first = input.along.first[x];
  std::uint64_t sum = 0;  // 16 bits of sample and twice 16 of weights
  for (std::int32_t v = 0; v < input.down.count; ++v, row += input.plane.pitch) {
    std::uint32_t line = 0;  // weights add up to at most 65536: 65535 * 65536 still fits
    for (std::int32_t h = 0; h < input.along.count; ++h) {
      // Trailing taps that count nothing still lie inside.
      line += pixel_sample(input.plane, row, first + h) * across[h];
    }
    sum += static_cast<std::uint64_t>(line) * down[v];
  }
  return static_cast<float>(sum >> 16) * (1.0F / 65536.0F);
}

/// Write what `value` of `channel` becomes as element number `at`. `table` is [channels][256] of
/// the type; unused for kUint8.
SHARDREEL_BOTH inline void store_value(PixelType type, const void* table, void* to, std::int64_t at,
                                       std::int32_t channel, std::uint8_t value) {
  const std::int32_t entry = channel * 256 + value;
  switch (type) {
    case PixelType::kUint8: static_cast<std::uint8_t*>(to)[at] = value; break;
    case PixelType::kFloat16:
      static_cast<std::uint16_t*>(to)[at] = static_cast<const std::uint16_t*>(table)[entry];
      break;
    case PixelType::kFloat32:
      static_cast<float*>(to)[at] = static_cast<const float*>(table)[entry];
      break;
  }
}

/// Write the slot's pixel (x, y), inside of it.
SHARDREEL_BOTH inline void convert_pixel(const PixelJob& job, std::int32_t x, std::int32_t y) {
  const std::int64_t at = y * job.row_step + x * job.pixel_step;
  const std::int32_t shown_x = x - job.left, shown_y = y - job.top;
  if (shown_x < 0 || shown_y < 0 || shown_x >= job.picture_width || shown_y >= job.picture_height) {
    for (std::int32_t o = 0; o < job.outputs; ++o)
      store_value(job.type, job.table, job.slot, at + o * job.channel_step, o, job.bars);
    return;
  }
  const std::int32_t column = job.transpose != 0 ? shown_y : shown_x;
  const std::int32_t row = job.transpose != 0 ? shown_x : shown_y;
  float in[3] = {0, 0, 0};
  for (std::int32_t i = 0; i < job.inputs; ++i) in[i] = pixel_filtered(job.input[i], column, row);
  for (std::int32_t o = 0; o < job.outputs; ++o) {
    // fmaf on both sides: whether a compiler joins a product and a sum must not decide a pixel.
    float value = job.offset[o];
    for (std::int32_t i = 0; i < job.inputs; ++i) value = fmaf(job.factor[o][i], in[i], value);
    value = fminf(fmaxf(value, 0.0F), 255.0F);
    store_value(job.type, job.table, job.slot, at + o * job.channel_step, o,
                static_cast<std::uint8_t>(value + 0.5F));
  }
}

}  // namespace shardreel
