#include "tests/support/test_frame.h"

extern "C" {
#include <libavutil/imgutils.h>
#include <libavutil/pixdesc.h>
}

#include <cmath>
#include <cstring>
#include <random>
#include <stdexcept>
#include <vector>

namespace shardreel::testing {
namespace {

/// Position (u, v) in 0..1 of a component, as 0..1.
double picture(double u, double v, int component, double phase) {
  const double slope = 0.5 + 0.45 * std::sin(3.1 * u + 2.3 * v + phase + 1.7 * component);
  const double texture = 0.08 * std::sin(120 * u + 20 * component) * std::sin(90 * v + phase);
  const bool disc = std::hypot(u - 0.5 - 0.2 * std::sin(phase), v - 0.45) < 0.2;
  const bool bar = std::fmod(u * 7 + v * 2 + phase, 3.0) < 0.4;
  double value = slope + texture;
  if (disc) value = component == 1 ? 0.1 : component == 2 ? 0.95 : 0.4;
  if (bar) value = 1 - value;
  return std::fmin(1, std::fmax(0, value));
}

}  // namespace

AVFramePtr make_frame(const std::string& pixel_format, int width, int height, Content content,
                      std::uint64_t seed, int alignment) {
  AVFramePtr frame(av_frame_alloc());
  frame->format = av_get_pix_fmt(pixel_format.c_str());
  frame->width = width;
  frame->height = height;
  if (av_frame_get_buffer(frame.get(), alignment) < 0) {
    throw std::runtime_error("no frame of format " + pixel_format);
  }
  const AVPixFmtDescriptor* descriptor =
      av_pix_fmt_desc_get(static_cast<AVPixelFormat>(frame->format));
  std::mt19937_64 random(seed);
  const double phase = static_cast<double>(seed % 628) / 100;
  // Lines are or-ed into place: start from nothing.
  for (int p = 0; p < AV_NUM_DATA_POINTERS && frame->buf[p] != nullptr; ++p) {
    std::memset(frame->buf[p]->data, 0, frame->buf[p]->size);
  }
  const bool palette = (descriptor->flags & AV_PIX_FMT_FLAG_PAL) != 0;
  if (palette) {
    for (int i = 0; i < 256; ++i) {
      reinterpret_cast<std::uint32_t*>(frame->data[1])[i] =
          0xff000000U | (static_cast<std::uint32_t>(random()) & 0xffffffU);
    }
  }
  const bool rgb = (descriptor->flags & AV_PIX_FMT_FLAG_RGB) != 0;
  for (int c = 0; c < (palette ? 1 : descriptor->nb_components); ++c) {
    const bool chroma = !rgb && (c == 1 || c == 2) && descriptor->nb_components >= 3;
    const int w = chroma ? -(-width >> descriptor->log2_chroma_w) : width;
    const int h = chroma ? -(-height >> descriptor->log2_chroma_h) : height;
    const double most = std::exp2(descriptor->comp[c].depth) - 1;
    std::vector<std::uint16_t> line(static_cast<std::size_t>(w));
    for (int y = 0; y < h; ++y) {
      for (int x = 0; x < w; ++x) {
        const double value = content == Content::kNoise
                                 ? std::uniform_real_distribution<double>(0, 1)(random)
                                 : picture((x + 0.5) / w, (y + 0.5) / h, c, phase);
        line[static_cast<std::size_t>(x)] = static_cast<std::uint16_t>(std::lround(value * most));
      }
      av_write_image_line2(line.data(), frame->data, frame->linesize, descriptor, 0, y, c, w, 2);
    }
  }
  return frame;
}

}  // namespace shardreel::testing
