#include "tests/support/pixel_reference.h"

extern "C" {
#include <libavutil/frame.h>
#include <libavutil/pixdesc.h>
}

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace shardreel::testing {
namespace {

struct Image {
  int width = 0, height = 0;
  std::vector<double> values;
  Image(int w, int h)
      : width(w), height(h), values(static_cast<std::size_t>(w) * static_cast<std::size_t>(h)) {}
  double& at(int x, int y) {
    return values[static_cast<std::size_t>(y) * static_cast<std::size_t>(width) +
                  static_cast<std::size_t>(x)];
  }
  [[nodiscard]] double at(int x, int y) const { return const_cast<Image*>(this)->at(x, y); }
};

const AVPixFmtDescriptor& descriptor_of(const AVFrame& frame) {
  const AVPixFmtDescriptor* descriptor =
      av_pix_fmt_desc_get(static_cast<AVPixelFormat>(frame.format));
  if (descriptor == nullptr) throw std::runtime_error("no such pixel format");
  return *descriptor;
}

/// Code values of a component.
Image read_component(const AVFrame& frame, int component) {
  const AVPixFmtDescriptor& descriptor = descriptor_of(frame);
  const bool rgb = (descriptor.flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL)) != 0;
  int width = frame.width, height = frame.height;
  if (!rgb && (component == 1 || component == 2)) {
    width = -(-width >> descriptor.log2_chroma_w);
    height = -(-height >> descriptor.log2_chroma_h);
  }
  Image image(width, height);
  std::vector<std::uint16_t> line(static_cast<std::size_t>(width));
  for (int y = 0; y < height; ++y) {
    if ((descriptor.flags & AV_PIX_FMT_FLAG_PAL) != 0) {
      for (int x = 0; x < width; ++x) {
        const int index = frame.data[0][y * frame.linesize[0] + x];
        const auto argb = reinterpret_cast<const std::uint32_t*>(frame.data[1])[index];
        image.at(x, y) = (argb >> (16 - 8 * component)) & 255;
      }
      continue;
    }
    av_read_image_line2(line.data(), const_cast<const std::uint8_t**>(frame.data), frame.linesize,
                        &descriptor, 0, y, component, width, 0, 2);
    for (int x = 0; x < width; ++x) {
      double value = line[static_cast<std::size_t>(x)];
      if (frame.format == AV_PIX_FMT_MONOWHITE) value = 1 - value;
      image.at(x, y) = value;
    }
  }
  return image;
}

/// One weighted source sample of one output sample.
struct Weight {
  int source;
  double weight;
};

/// The triangle filter for one side: `to` samples over [left, left + size) of `from` samples.
std::vector<std::vector<Weight>> triangle(int from, double left, double size, int to) {
  std::vector<std::vector<Weight>> all;
  const double ratio = size / to;
  const double radius = std::max(1.0, ratio);
  for (int i = 0; i < to; ++i) {
    const double centre = left + (i + 0.5) * ratio;
    std::vector<Weight> weights;
    double sum = 0;
    for (int j = static_cast<int>(std::floor(centre - radius)) - 1; j <= centre + radius + 1; ++j) {
      const double weight = 1 - std::fabs(j + 0.5 - centre) / radius;
      if (weight <= 0) continue;
      const int mirrored = j < 0 ? -1 - j : j >= from ? 2 * from - 1 - j : j;
      weights.push_back({std::clamp(mirrored, 0, from - 1), weight});
      sum += weight;
    }
    for (Weight& weight : weights) weight.weight /= sum;
    all.push_back(weights);
  }
  return all;
}

Image scale(const Image& image, double left, double top, double width, double height, int to_width,
            int to_height) {
  const auto columns = triangle(image.width, left, width, to_width);
  const auto rows = triangle(image.height, top, height, to_height);
  Image narrow(to_width, image.height);
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < to_width; ++x) {
      for (const auto& [source, weight] : columns[static_cast<std::size_t>(x)]) {
        narrow.at(x, y) += weight * image.at(source, y);
      }
    }
  }
  Image scaled(to_width, to_height);
  for (int y = 0; y < to_height; ++y) {
    for (int x = 0; x < to_width; ++x) {
      for (const auto& [source, weight] : rows[static_cast<std::size_t>(y)]) {
        scaled.at(x, y) += weight * narrow.at(x, source);
      }
    }
  }
  return scaled;
}

/// Where luma position `position` lies on the chroma axis: chroma sample i is on luma sample
/// factor * i + offset (centres at + 0.5).
double to_chroma(double position, int log2, double offset) {
  const double factor = std::exp2(log2);
  return (position - 0.5 - offset) / factor + 0.5;
}

Image scaled_component(const AVFrame& frame, int component, const FrameGeometry& g, int to_width,
                       int to_height) {
  const AVPixFmtDescriptor& descriptor = descriptor_of(frame);
  const Image image = read_component(frame, component);
  const bool rgb = (descriptor.flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL)) != 0;
  if (rgb || component == 0) {
    return scale(image, g.crop_x, g.crop_y, g.crop_width, g.crop_height, to_width, to_height);
  }
  const int log2_w = descriptor.log2_chroma_w, log2_h = descriptor.log2_chroma_h;
  const double last_w = std::exp2(log2_w) - 1, last_h = std::exp2(log2_h) - 1;
  double x = 0, y = last_h / 2;  // left: on the first column, between the rows
  switch (frame.chroma_location) {
    case AVCHROMA_LOC_CENTER: x = last_w / 2; break;
    case AVCHROMA_LOC_TOPLEFT: y = 0; break;
    case AVCHROMA_LOC_TOP:
      x = last_w / 2;
      y = 0;
      break;
    case AVCHROMA_LOC_BOTTOMLEFT: y = last_h; break;
    case AVCHROMA_LOC_BOTTOM:
      x = last_w / 2;
      y = last_h;
      break;
    default: break;
  }
  return scale(image, to_chroma(g.crop_x, log2_w, x), to_chroma(g.crop_y, log2_h, y),
               g.crop_width / std::exp2(log2_w), g.crop_height / std::exp2(log2_h), to_width,
               to_height);
}

Image mirrored(const Image& image) {
  Image out(image.width, image.height);
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) out.at(image.width - 1 - x, y) = image.at(x, y);
  }
  return out;
}

Image clockwise(const Image& image) {
  Image out(image.height, image.width);
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) out.at(image.height - 1 - y, x) = image.at(x, y);
  }
  return out;
}

Image laid(Image image, const FrameGeometry& g) {
  if (g.mirror) image = mirrored(image);
  for (std::uint32_t i = 0; i < g.quarter_turns; ++i) image = clockwise(image);
  if (g.flip) image = mirrored(image);
  return image;
}

std::uint8_t to_byte(double value) {
  return static_cast<std::uint8_t>(std::floor(std::clamp(value, 0.0, 255.0) + 0.5));
}

bool full_range(const AVFrame& frame) {
  const AVPixFmtDescriptor& descriptor = descriptor_of(frame);
  if (descriptor.comp[0].depth < 8) return true;
  if (frame.color_range == AVCOL_RANGE_JPEG) return true;
  if (frame.color_range == AVCOL_RANGE_MPEG) return false;
  return (descriptor.flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL)) != 0 ||
         std::string(descriptor.name).substr(0, 4) == "yuvj";
}

/// Luma weights of red and blue.
std::pair<double, double> luma_weights(const AVFrame& frame) {
  switch (frame.colorspace) {
    case AVCOL_SPC_BT709: return {0.2126, 0.0722};
    case AVCOL_SPC_BT470BG:
    case AVCOL_SPC_SMPTE170M: return {0.299, 0.114};
    case AVCOL_SPC_FCC: return {0.30, 0.11};
    case AVCOL_SPC_SMPTE240M: return {0.212, 0.087};
    case AVCOL_SPC_BT2020_NCL:
    case AVCOL_SPC_BT2020_CL: return {0.2627, 0.0593};
    default: break;
  }
  return frame.height >= 720 ? std::pair{0.2126, 0.0722} : std::pair{0.299, 0.114};
}

/// A luma or RGB code value as 0..1.
double unit_luma(double code, int depth, bool full) {
  return full ? code / (std::exp2(depth) - 1) : (code / std::exp2(depth - 8) - 16) / 219;
}

/// A chroma code value as -0.5..0.5.
double unit_chroma(double code, int depth, bool full) {
  return full ? (code - std::exp2(depth - 1)) / (std::exp2(depth) - 1)
              : (code / std::exp2(depth - 8) - 128) / 224;
}

}  // namespace

std::vector<std::uint8_t> reference_slot(const AVFrame& frame, const FrameGeometry& g,
                                         const TransformOptions& options) {
  const AVPixFmtDescriptor& descriptor = descriptor_of(frame);
  const bool rgb = (descriptor.flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL)) != 0;
  const bool gray = !rgb && descriptor.nb_components < 3;
  const bool full = full_range(frame);
  const auto depth_of = [&](int component) {
    return (descriptor.flags & AV_PIX_FMT_FLAG_PAL) != 0 ? 8 : descriptor.comp[component].depth;
  };
  const auto [kr, kb] = luma_weights(frame);
  const double kg = 1 - kr - kb;
  const int width = static_cast<int>(options.width), height = static_cast<int>(options.height);
  const int sw = static_cast<int>(g.scaled_width), sh = static_cast<int>(g.scaled_height);
  const int left = static_cast<int>(g.left), top = static_cast<int>(g.top);
  std::vector<std::uint8_t> slot(slot_bytes(options), 0);
  const auto component = [&](int c, int w, int h) {
    return laid(scaled_component(frame, c, g, w, h), g);
  };

  if (options.color == ColorMode::kYuv420) {
    const int cw = (width + 1) / 2, ch = (height + 1) / 2;
    std::fill_n(slot.begin(), width * height, std::uint8_t(!rgb && full ? 0 : 16));
    std::fill(slot.begin() + width * height, slot.end(), std::uint8_t{128});
    for (int c = 0; c < 3; ++c) {
      const int half = c == 0 ? 1 : 2;
      if (gray && c > 0) continue;  // 128 already
      const int w = (sw + half - 1) / half, h = (sh + half - 1) / half;
      Image out = component(rgb ? 0 : c, w, h);
      if (rgb) {
        const Image green = component(1, w, h), blue = component(2, w, h);
        for (std::size_t i = 0; i < out.values.size(); ++i) {
          const double r = unit_luma(out.values[i], depth_of(0), full);
          const double gr = unit_luma(green.values[i], depth_of(1), full);
          const double b = unit_luma(blue.values[i], depth_of(2), full);
          const double y = kr * r + kg * gr + kb * b;
          out.values[i] = c == 0   ? 16 + 219 * y
                          : c == 1 ? 128 + 224 * (b - y) / (2 * (1 - kb))
                                   : 128 + 224 * (r - y) / (2 * (1 - kr));
        }
      } else {
        for (double& v : out.values) {
          if (!full) {
            v /= std::exp2(depth_of(c) - 8);
          } else {
            v = c == 0 ? 255 * unit_luma(v, depth_of(c), true)
                       : 128 + 255 * unit_chroma(v, depth_of(c), true);
          }
        }
      }
      const int offset = c == 0 ? 0 : width * height + (c - 1) * cw * ch;
      const int stride = c == 0 ? width : cw;
      for (int y = 0; y < out.height; ++y) {
        for (int x = 0; x < out.width; ++x) {
          slot[static_cast<std::size_t>(offset + (top / half + y) * stride + left / half + x)] =
              to_byte(out.at(x, y));
        }
      }
    }
    return slot;
  }

  std::vector<Image> planes;
  for (int c = 0; c < (gray ? 1 : 3); ++c) planes.push_back(component(c, sw, sh));
  for (int y = 0; y < planes[0].height; ++y) {
    for (int x = 0; x < planes[0].width; ++x) {
      double r = 0, gr = 0, b = 0;
      double luma = unit_luma(planes[0].at(x, y), depth_of(0), full);
      if (rgb) {
        r = luma;
        gr = unit_luma(planes[1].at(x, y), depth_of(1), full);
        b = unit_luma(planes[2].at(x, y), depth_of(2), full);
        luma = kr * r + kg * gr + kb * b;
      } else if (gray) {
        r = gr = b = luma;
      } else {
        const double u = unit_chroma(planes[1].at(x, y), depth_of(1), full);
        const double v = unit_chroma(planes[2].at(x, y), depth_of(2), full);
        if (frame.colorspace == AVCOL_SPC_YCGCO) {
          r = luma - u + v;
          gr = luma + u;
          b = luma - u - v;
        } else {
          r = luma + 2 * (1 - kr) * v;
          b = luma + 2 * (1 - kb) * u;
          gr = (luma - kr * r - kb * b) / kg;
        }
      }
      const auto pixel = static_cast<std::size_t>((top + y) * width + left + x);
      if (options.color == ColorMode::kGray) {
        slot[pixel] = to_byte(255 * luma);
      } else {
        slot[3 * pixel] = to_byte(255 * r);
        slot[3 * pixel + 1] = to_byte(255 * gr);
        slot[3 * pixel + 2] = to_byte(255 * b);
      }
    }
  }
  return slot;
}

std::string PixelDifference::describe() const {
  return fmt::format("PSNR {:.2f} dB, {:.4f} % differ by more than 2, largest {}", psnr,
                     over_two * 100, largest);
}

PixelDifference compare_pixels(std::span<const std::uint8_t> got,
                               std::span<const std::uint8_t> want) {
  if (got.size() != want.size()) throw std::runtime_error("slots of different size");
  PixelDifference difference;
  double squares = 0;
  std::size_t over = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const int d = std::abs(int{got[i]} - int{want[i]});
    squares += d * d;
    over += d > 2 ? 1 : 0;
    difference.largest = std::max(difference.largest, d);
  }
  const auto size = static_cast<double>(got.size());
  difference.psnr = squares == 0 ? 99 : 10 * std::log10(255.0 * 255 * size / squares);
  difference.over_two = static_cast<double>(over) / size;
  return difference;
}

}  // namespace shardreel::testing
