#include "loader/media/frame_converter.h"

#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <random>

extern "C" {
#include <libavutil/pixdesc.h>
}

#include "tests/support/pixel_reference.h"
#include "tests/support/scratch.h"
#include "tests/support/test_frame.h"

namespace shardreel {
namespace {

using testing::compare_pixels;
using testing::Content;
using testing::make_frame;
using testing::PixelDifference;
using testing::reference_slot;

TransformOptions output(std::uint32_t width, std::uint32_t height,
                        ResizeMode mode = ResizeMode::kShortSide) {
  TransformOptions options;
  options.width = width;
  options.height = height;
  options.resize_mode = mode;
  return options;
}

std::vector<std::uint8_t> converted(FrameConverter& converter, const AVFrame& frame,
                                    const FrameGeometry& geometry,
                                    const TransformOptions& options) {
  std::vector<std::byte> slot(slot_bytes(options), std::byte{0xa5});
  const auto result = converter.convert(frame, geometry, slot);
  if (!result) ADD_FAILURE() << result.error().message;
  std::vector<std::uint8_t> bytes(slot.size());
  std::memcpy(bytes.data(), slot.data(), slot.size());
  return bytes;
}

FrameGeometry geometry_of(const AVFrame& frame, const TransformOptions& options,
                          const Orientation& orientation = {}, const TransformDraws& draws = {}) {
  return frame_geometry(static_cast<std::uint32_t>(frame.width) -
                            static_cast<std::uint32_t>(frame.crop_left + frame.crop_right),
                        static_cast<std::uint32_t>(frame.height) -
                            static_cast<std::uint32_t>(frame.crop_top + frame.crop_bottom),
                        orientation, options, draws);
}

PixelDifference difference(const AVFrame& frame, const TransformOptions& options,
                           const Orientation& orientation = {}, const TransformDraws& draws = {}) {
  const auto converter = make_frame_converter(options);
  const FrameGeometry geometry = geometry_of(frame, options, orientation, draws);
  return compare_pixels(converted(*converter, frame, geometry, options),
                        reference_slot(frame, geometry, options));
}

#define EXPECT_WITHIN_CONTRACT(found)                                               \
  do {                                                                              \
    const PixelDifference found_difference = (found);                               \
    EXPECT_TRUE(found_difference.within_contract()) << found_difference.describe(); \
  } while (false)

TEST(FrameConverter, EveryMatrixRangeDepthAndSubsampling) {
  for (const char* format : {"yuv420p", "yuv422p", "yuv444p", "yuv440p", "yuv411p", "yuv410p",
                             "yuv420p10le", "yuv422p10le", "yuv444p10le", "yuv420p12le",
                             "yuv444p16le", "yuvj420p", "yuvj444p", "yuva420p"}) {
    for (const int space :
         {AVCOL_SPC_UNSPECIFIED, AVCOL_SPC_BT709, AVCOL_SPC_SMPTE170M, AVCOL_SPC_BT470BG,
          AVCOL_SPC_BT2020_NCL, AVCOL_SPC_SMPTE240M, AVCOL_SPC_FCC, AVCOL_SPC_YCGCO}) {
      for (const int range : {AVCOL_RANGE_UNSPECIFIED, AVCOL_RANGE_MPEG, AVCOL_RANGE_JPEG}) {
        for (const Content content : {Content::kPicture, Content::kNoise}) {
          SCOPED_TRACE(std::string(format) + " space " + std::to_string(space) + " range " +
                       std::to_string(range));
          const auto frame = make_frame(format, 85, 64, content, 1);
          frame->colorspace = static_cast<AVColorSpace>(space);
          frame->color_range = static_cast<AVColorRange>(range);
          EXPECT_WITHIN_CONTRACT(difference(*frame, output(56, 56)));
        }
      }
    }
  }
}

TEST(FrameConverter, UntaggedMatrixChangesAt720Lines) {
  for (const int height : {719, 720}) {
    const auto frame = make_frame("yuv420p", 64, height, Content::kPicture, 2);
    EXPECT_WITHIN_CONTRACT(difference(*frame, output(32, 32)));
  }
}

TEST(FrameConverter, EverySize) {
  constexpr int kSides[] = {1, 2, 3, 31, 32, 33, 63, 64, 65};
  for (const char* format : {"yuv420p", "yuv422p10le"}) {
    for (const int width : kSides) {
      for (const int height : kSides) {
        for (const auto& [out_width, out_height] :
             {std::pair<std::uint32_t, std::uint32_t>{1, 1}, {2, 2}, {17, 9}, {32, 32}, {96, 70}}) {
          SCOPED_TRACE(std::string(format) + " " + std::to_string(width) + "x" +
                       std::to_string(height) + " to " + std::to_string(out_width) + "x" +
                       std::to_string(out_height));
          const auto frame = make_frame(format, width, height, Content::kPicture, 3, 1);
          EXPECT_WITHIN_CONTRACT(
              difference(*frame, output(out_width, out_height, ResizeMode::kStretch)));
        }
      }
    }
  }
}

// One column, from packed pixels: zimg's AVX2 kernels got these wrong.
TEST(FrameConverter, OneColumn) {
  for (const auto& [width, height, rows] : {std::array<int, 3>{154, 275, 23},
                                            {221, 280, 20},
                                            {149, 188, 21},
                                            {293, 245, 29},
                                            {295, 229, 25}}) {
    SCOPED_TRACE(std::to_string(width) + "x" + std::to_string(height));
    const auto frame = make_frame("yuyv422", width, height, Content::kNoise, 1, 16);
    EXPECT_WITHIN_CONTRACT(difference(*frame, output(1, static_cast<std::uint32_t>(rows))));
  }
}

TEST(FrameConverter, EveryChromaSiting) {
  for (const char* format : {"yuv420p", "yuv422p", "yuv440p", "yuv411p"}) {
    for (int siting = AVCHROMA_LOC_UNSPECIFIED; siting <= AVCHROMA_LOC_BOTTOM; ++siting) {
      SCOPED_TRACE(std::string(format) + " siting " + std::to_string(siting));
      const auto frame = make_frame(format, 48, 40, Content::kNoise, 4);
      frame->chroma_location = static_cast<AVChromaLocation>(siting);
      EXPECT_WITHIN_CONTRACT(difference(*frame, output(64, 64)));
      EXPECT_WITHIN_CONTRACT(difference(*frame, output(20, 20)));
    }
  }
}

// Everything else that a geometry and a frame can be, at random.
TEST(FrameConverter, AgreesWithTheReferenceOnRandomCases) {
  std::mt19937_64 random(testing::test_seed());
  const auto integer = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  const auto real = [&] { return std::uniform_real_distribution<double>(0, 1)(random); };
  constexpr const char* kFormats[] = {
      "yuv420p",     "yuv422p",  "yuv444p",   "yuvj420p",  "yuv420p10le", "yuv422p10le",
      "yuv444p12le", "gray",     "gray10le",  "gbrp",      "gbrp10le",    "nv12",
      "nv21",        "p010le",   "yuyv422",   "uyvy422",   "rgb24",       "bgra",
      "rgb565le",    "pal8",     "monow",     "gray16be",  "yuv420p10be", "rgb48le",
      "nv16",        "nv24",     "ya8",       "x2rgb10le", "p016be",      "y210le",
      "gbrap",       "yuva444p", "bgr4_byte", "argb",      "rgb444le",    "yuv420p9le"};
  for (std::uint64_t round = testing::rounds(8000); round > 0; --round) {
    const char* format = kFormats[integer(0, std::size(kFormats) - 1)];
    const int most = integer(0, 3) == 0 ? 300 : 90;
    const int width = integer(1, most), height = integer(1, most);
    const auto content = static_cast<Content>(integer(0, 1));
    const auto frame = make_frame(format, width, height, content, random(), 1 << integer(0, 6));
    frame->colorspace = static_cast<AVColorSpace>(
        std::array{AVCOL_SPC_UNSPECIFIED, AVCOL_SPC_BT709,
                   AVCOL_SPC_BT2020_NCL}[static_cast<std::size_t>(integer(0, 2))]);
    frame->color_range = static_cast<AVColorRange>(integer(0, 2));
    frame->chroma_location = static_cast<AVChromaLocation>(integer(0, 6));
    TransformOptions options =
        output(static_cast<std::uint32_t>(integer(1, 80)),
               static_cast<std::uint32_t>(integer(1, 80)), static_cast<ResizeMode>(integer(0, 2)));
    options.color = static_cast<ColorMode>(integer(0, 2));
    if (options.color == ColorMode::kYuv420) {
      options.width *= 2;
      options.height *= 2;
    }
    options.crop = static_cast<CropMode>(integer(0, 2));
    options.crop_scale_min = 0.1;
    const TransformDraws draws{real(), real(), real(), real(), integer(0, 1) == 1};
    const Orientation orientation{static_cast<std::uint32_t>(integer(0, 3)), integer(0, 1) == 1};
    SCOPED_TRACE(::testing::Message()
                 << format << " " << width << "x" << height << " to " << options.width << "x"
                 << options.height << " color " << static_cast<int>(options.color) << " mode "
                 << static_cast<int>(options.resize_mode) << " crop "
                 << static_cast<int>(options.crop) << " turns " << orientation.quarter_turns
                 << " mirror " << orientation.mirror << " noise " << static_cast<int>(content));
    EXPECT_WITHIN_CONTRACT(difference(*frame, options, orientation, draws));
    if (HasFailure()) return;
  }
}

TEST(FrameConverter, BottomUpFramesAndCropFields) {
  const TransformOptions options = output(40, 40);
  for (const char* format : {"yuv420p", "nv12", "yuv444p10le", "rgb24"}) {
    for (const int alignment : {1, 64}) {
      SCOPED_TRACE(std::string(format) + " alignment " + std::to_string(alignment));
      const auto frame = make_frame(format, 96, 80, Content::kPicture, 6, alignment);
      const auto converter = make_frame_converter(options);
      const auto upright = converted(*converter, *frame, geometry_of(*frame, options), options);
      // The same picture with its rows stored from the bottom.
      AVFramePtr copy(av_frame_clone(frame.get()));
      const AVPixFmtDescriptor* descriptor =
          av_pix_fmt_desc_get(static_cast<AVPixelFormat>(frame->format));
      AVFramePtr reversed = make_frame(format, 96, 80, Content::kPicture, 6, alignment);
      for (int p = 0; p < 4 && frame->data[p] != nullptr; ++p) {
        const int rows = p == 0 || (descriptor->flags & AV_PIX_FMT_FLAG_RGB) != 0
                             ? 80
                             : 80 >> descriptor->log2_chroma_h;
        const int stride = frame->linesize[p];
        for (int y = 0; y < rows; ++y) {
          std::memcpy(reversed->data[p] + (rows - 1 - y) * stride, frame->data[p] + y * stride,
                      static_cast<std::size_t>(stride));
        }
        copy->data[p] = reversed->data[p] + (rows - 1) * stride;
        copy->linesize[p] = -stride;
      }
      EXPECT_EQ(converted(*converter, *copy, geometry_of(*copy, options), options), upright);
      // Crop fields against pointers moved by hand.
      AVFramePtr cropped(av_frame_clone(frame.get()));
      cropped->crop_left = 6;
      cropped->crop_top = 4;
      cropped->crop_right = 10;
      cropped->crop_bottom = 2;
      AVFramePtr moved(av_frame_clone(frame.get()));
      for (int p = 0; p < 4 && frame->data[p] != nullptr; ++p) {
        bool chroma = p > 0 && (descriptor->flags & AV_PIX_FMT_FLAG_RGB) == 0;
        const int x = chroma ? 6 >> descriptor->log2_chroma_w : 6;
        const int y = chroma ? 4 >> descriptor->log2_chroma_h : 4;
        int step = 1;
        for (int c = 0; c < descriptor->nb_components; ++c) {
          if (descriptor->comp[c].plane == p) step = descriptor->comp[c].step;
        }
        moved->data[p] += y * frame->linesize[p] + x * step;
      }
      moved->width = 80;
      moved->height = 74;
      const FrameGeometry geometry = geometry_of(*moved, options);
      EXPECT_EQ(geometry, geometry_of(*cropped, options));
      const auto got = converted(*converter, *cropped, geometry, options);
      EXPECT_EQ(got, converted(*converter, *moved, geometry, options));
      EXPECT_WITHIN_CONTRACT(compare_pixels(got, reference_slot(*moved, geometry, options)));
    }
  }
}

// Rows that end where an unreadable page begins.
TEST(FrameConverter, ReadsNothingBeyondTheRows) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  for (const int width : {340, 341, 130, 127, 64, 33, 1}) {
    for (const int padding : {0, 32, 64}) {
      constexpr int kHeight = 50;
      const int chroma_width = (width + 1) / 2;
      const auto padded = [&](int w) {
        return padding == 0 ? w : (w + padding - 1) / padding * padding;
      };
      AVFramePtr frame(av_frame_alloc());
      frame->format = AV_PIX_FMT_YUV420P;
      frame->width = width;
      frame->height = kHeight;
      struct Guarded {
        std::byte* block;
        std::size_t bytes;
      };
      std::vector<Guarded> planes;
      for (int p = 0; p < 3; ++p) {
        const int stride = padded(p == 0 ? width : chroma_width);
        const auto bytes = static_cast<std::size_t>(stride * (p == 0 ? kHeight : kHeight / 2));
        const std::size_t pages = (bytes + page - 1) / page;
        auto* block =
            static_cast<std::byte*>(mmap(nullptr, (pages + 2) * page, PROT_READ | PROT_WRITE,
                                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        ASSERT_NE(block, MAP_FAILED);
        mprotect(block, page, PROT_NONE);
        mprotect(block + (pages + 1) * page, page, PROT_NONE);
        planes.push_back({block, (pages + 2) * page});
        frame->data[p] = reinterpret_cast<std::uint8_t*>(block + (pages + 1) * page - bytes);
        frame->linesize[p] = stride;
      }
      for (const ResizeMode mode : {ResizeMode::kShortSide, ResizeMode::kStretch}) {
        const TransformOptions options = output(30, 30, mode);
        const auto converter = make_frame_converter(options);
        converted(*converter, *frame, geometry_of(*frame, options), options);
      }
      for (const Guarded& plane : planes) munmap(plane.block, plane.bytes);
    }
  }
}

// Where the rows lie in memory, and what was converted before, changes no byte.
TEST(FrameConverter, AlignmentAndHistoryChangeNothing) {
  const TransformOptions options = output(50, 38);
  const auto used = make_frame_converter(options);
  for (const char* format : {"yuv420p", "yuv422p10le", "yuv444p"}) {
    for (const int width : {320, 340, 352, 333}) {
      std::vector<std::uint8_t> first;
      for (const int alignment : {1, 2, 16, 32, 64}) {
        const auto frame = make_frame(format, width, 90, Content::kNoise, 8, alignment);
        const auto fresh = make_frame_converter(options);
        const auto got = converted(*fresh, *frame, geometry_of(*frame, options), options);
        if (first.empty()) first = got;
        EXPECT_EQ(got, first) << format << " " << width << " alignment " << alignment;
        EXPECT_EQ(converted(*used, *frame, geometry_of(*frame, options), options), first);
      }
    }
  }
}

TEST(FrameConverter, BarsAreBlack) {
  const auto frame = make_frame("yuv420p", 64, 32, Content::kPicture, 9);
  for (const ColorMode color : {ColorMode::kRgb, ColorMode::kGray, ColorMode::kYuv420}) {
    TransformOptions options = output(32, 32, ResizeMode::kFit);
    options.color = color;
    const auto converter = make_frame_converter(options);
    const auto slot = converted(*converter, *frame, geometry_of(*frame, options), options);
    const std::size_t channels = color == ColorMode::kRgb ? 3 : 1;
    for (std::size_t i = 0; i < 8 * 32 * channels; ++i) {
      ASSERT_EQ(slot[i], color == ColorMode::kYuv420 ? 16 : 0);
      ASSERT_EQ(slot[32 * 32 * channels - 1 - i], color == ColorMode::kYuv420 ? 16 : 0);
    }
    if (color == ColorMode::kYuv420) {
      ASSERT_EQ(slot[32 * 32], 128);
      ASSERT_EQ(slot.back(), 128);
    }
  }
}

TEST(FrameConverter, RefusesWhatNobodyCanTakeAndWrongGeometry) {
  const TransformOptions options = output(32, 32);
  const auto converter = make_frame_converter(options);
  std::vector<std::byte> slot(slot_bytes(options));
  const auto frame = make_frame("yuv420p", 64, 48, Content::kPicture, 10);
  const FrameGeometry good = geometry_of(*frame, options);
  for (const AVPixelFormat format : {AV_PIX_FMT_CUDA, AV_PIX_FMT_BAYER_BGGR8, AV_PIX_FMT_XYZ12LE,
                                     AV_PIX_FMT_GBRPF32LE, AV_PIX_FMT_NONE}) {
    AVFramePtr other(av_frame_clone(frame.get()));
    other->format = format;
    const auto result = converter->convert(*other, good, slot);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kUnsupported);
    EXPECT_NE(result.error().message.find("pixel format"), std::string::npos);
  }
  FrameGeometry outside = good;
  outside.crop_x = 40;
  EXPECT_EQ(converter->convert(*frame, outside, slot).error().code, ErrorCode::kInternal);
  FrameGeometry large = good;
  large.scaled_width = 33;
  EXPECT_EQ(converter->convert(*frame, large, slot).error().code, ErrorCode::kInternal);
  EXPECT_FALSE(converter->convert(*frame, good, std::span(slot).first(5)));
  EXPECT_FALSE(converter->convert(*frame, FrameGeometry{}, slot));
  EXPECT_TRUE(converter->convert(*frame, good, slot));
}

std::uint64_t heap_bytes() {
  const auto info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

TEST(FrameConverter, ScratchIsCountedAndBounded) {
  std::mt19937_64 random(testing::test_seed());
  const auto integer = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  struct Size {
    int width, height, out_width, out_height;
  };
  std::vector<Size> sizes = {{1920, 1080, 224, 224}, {3840, 2160, 224, 224}, {7680, 4320, 224, 224},
                             {340, 256, 224, 224},   {64, 64, 640, 480},     {4000, 30, 64, 64},
                             {30, 4000, 64, 64},     {1, 1, 224, 224},       {1920, 1080, 16, 16}};
  for (std::uint64_t round = testing::rounds(200); round > 0; --round) {
    sizes.push_back({integer(1, 2000), integer(1, 2000), integer(1, 400), integer(1, 400)});
  }
  for (const Size& size : sizes) {
    for (const char* format : {"yuv420p", "p010le", "yuv444p10le"}) {
      TransformOptions options = output(static_cast<std::uint32_t>(size.out_width),
                                        static_cast<std::uint32_t>(size.out_height),
                                        static_cast<ResizeMode>(integer(0, 2)));
      options.crop = static_cast<CropMode>(integer(0, 2));
      const auto frame = make_frame(format, size.width, size.height, Content::kNoise, 1, 1);
      std::vector<std::byte> slot(slot_bytes(options));
      const std::uint64_t before = heap_bytes();
      const auto converter = make_frame_converter(options);
      for (int i = 0; i < 3; ++i) {
        const double at = i / 3.0;
        const auto geometry = geometry_of(*frame, options, {static_cast<std::uint32_t>(i), false},
                                          {at, at, at, at, i == 1});
        ASSERT_TRUE(converter->convert(*frame, geometry, slot));
      }
      const std::uint64_t bound = converter_scratch_bytes(
          static_cast<std::uint32_t>(size.width), static_cast<std::uint32_t>(size.height), options);
      const auto shape = ::testing::Message() << format << " " << size.width << "x" << size.height
                                              << " to " << size.out_width << "x" << size.out_height;
      EXPECT_LE(converter->scratch_bytes(), bound) << shape;
      if (!testing::sanitized()) {
        const std::uint64_t held = heap_bytes() - before;
        EXPECT_LE(held, bound) << shape;
        EXPECT_LE(held, converter->scratch_bytes() * 11 / 10 + 32768) << shape;
      }
    }
  }
}

TEST(FrameConverter, GraphsAreBounded) {
  TransformOptions options = output(64, 64);
  options.crop = CropMode::kRandom;
  const auto converter = make_frame_converter(options);
  const auto frame = make_frame("yuv420p", 200, 100, Content::kPicture, 1);
  std::uint64_t most = 0;
  for (int i = 0; i < 200; ++i) {
    const auto geometry = geometry_of(*frame, options, {}, {i / 200.0, 0.5, 0, 0, false});
    converted(*converter, *frame, geometry, options);
    if (i == 20) most = converter->scratch_bytes();
  }
  EXPECT_LE(converter->scratch_bytes(), most);
}

}  // namespace
}  // namespace shardreel
