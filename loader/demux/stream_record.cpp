#include "loader/demux/stream_record.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "loader/demux/stream_facts.h"
#include "loader/media/av_error.h"

extern "C" {
#include <libavutil/imgutils.h>
#include <libavutil/pixdesc.h>
}

namespace shardreel {
namespace {

constexpr std::uint8_t kVersion = 2;
// Extradata are some hundred bytes; FFmpeg's own bound is its INT_MAX less padding.
constexpr std::size_t kMaxExtradataBytes = 64u << 20;

/// The numbers of AVCodecParameters that decoding a video may depend on, in the order they are
/// stored. The colour enumerations are those of ITU-T H.273, so they mean the same everywhere.
template <typename Codec, typename Visit>
void for_each_number(Codec& codec, Visit&& visit) {
  visit(codec.width);
  visit(codec.height);
  visit(codec.sample_aspect_ratio.num);
  visit(codec.sample_aspect_ratio.den);
  visit(codec.profile);
  visit(codec.level);
  visit(codec.video_delay);
  visit(codec.bits_per_coded_sample);
  visit(codec.bits_per_raw_sample);
  visit(codec.field_order);
  visit(codec.color_range);
  visit(codec.color_primaries);
  visit(codec.color_trc);
  visit(codec.color_space);
  visit(codec.chroma_location);
}

class Writer {
 public:
  template <typename Number>
  void number(Number value) {
    auto bits = static_cast<std::uint64_t>(static_cast<std::int64_t>(value));
    for (std::size_t i = 0; i < sizeof(Number); ++i, bits >>= 8)
      out_ += static_cast<char>(bits & 0xff);
  }
  void text(std::string_view value) {
    number(static_cast<std::uint32_t>(value.size()));
    out_ += value;
  }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

/// Once something was missing, all that follows is zero and `good` says so.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  template <typename Number>
  Number number() {
    const std::string_view from = take(sizeof(Number));
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < from.size(); ++i)
      bits |= static_cast<std::uint64_t>(static_cast<unsigned char>(from[i])) << (8 * i);
    return static_cast<Number>(bits);
  }
  std::string_view text() { return take(number<std::uint32_t>()); }
  [[nodiscard]] bool good() const { return good_; }
  [[nodiscard]] bool at_end() const { return good_ && rest_.empty(); }

 private:
  std::string_view take(std::size_t size) {
    if (size > rest_.size()) {
      good_ = false;
      rest_ = {};
    }
    const std::string_view taken = rest_.substr(0, good_ ? size : 0);
    rest_.remove_prefix(taken.size());
    return taken;
  }

  std::string_view rest_;
  bool good_ = true;
};

Error bad_record(std::string_view what) {
  return {.code = ErrorCode::kCorruptArchive,
          .message = fmt::format("a stream's parameters in an index: {}", what)};
}

Result<void> check_codec(const AVCodecParameters& codec) {
  // The bounds a demuxer's parameters are checked against before anything is planned with them.
  if ((codec.width != 0 || codec.height != 0) &&
      (codec.width < 0 || codec.height < 0 ||
       av_image_check_size2(static_cast<unsigned>(codec.width), static_cast<unsigned>(codec.height),
                            INT64_MAX, AV_PIX_FMT_NONE, 0, nullptr) < 0))
    return bad_record(fmt::format("impossible size {}x{}", codec.width, codec.height));
  if (codec.video_delay < 0 || codec.video_delay > 16)
    return bad_record(fmt::format("frames held back: {}, expected 0 to 16", codec.video_delay));
  return {};
}

}  // namespace

Result<StreamRecord> read_stream(const Demuxer& demuxer, const PacketScan& scan) {
  const AVStream& stream = demuxer.stream();
  StreamRecord record;
  record.codec.reset(avcodec_parameters_alloc());
  const int copied = record.codec == nullptr
                         ? AVERROR(ENOMEM)
                         : avcodec_parameters_copy(record.codec.get(), stream.codecpar);
  if (copied < 0) return av_failure(ErrorCode::kMemory, "keep a stream's parameters", copied);
  record.time_base = stream.time_base;
  const AVRational told =
      stream.avg_frame_rate.num > 0 ? stream.avg_frame_rate : stream.r_frame_rate;
  if (told.num > 0 && told.den > 0) record.told_rate = told;
  record.last_duration = scan.last_duration;
  record.times_mislead = scan.times_mislead;
  record.held_back = scan.held_back;
  record.x264_build = scan.x264_build;
  record.probed = demuxer.probed();
  record.sample_aspect = demuxer.sample_aspect();
  record.video_streams = demuxer.video_streams();
  record.stream_number = static_cast<std::uint32_t>(stream.index);
  std::size_t size = 0;
  const std::uint8_t* matrix = av_stream_get_side_data(&stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
  if (matrix != nullptr && size >= 9 * sizeof(std::int32_t)) {
    const auto orientation = read_display_matrix(reinterpret_cast<const std::int32_t*>(matrix));
    record.quarter_turns = orientation.quarter_turns;
    record.mirror = orientation.mirror;
  }
  return record;
}

std::string write_stream_record(const StreamRecord& record) {
  const AVCodecParameters& codec = *record.codec;
  Writer out;
  out.number(kVersion);
  out.text(avcodec_get_name(codec.codec_id));
  const char* format = av_get_pix_fmt_name(static_cast<AVPixelFormat>(codec.format));
  out.text(format == nullptr ? "" : format);
  out.number(codec.codec_tag);
  for_each_number(codec, [&](const auto& value) { out.number(static_cast<std::int32_t>(value)); });
  out.number(codec.bit_rate);
  for (const AVRational& rational : {record.time_base, record.told_rate}) {
    out.number(rational.num);
    out.number(rational.den);
  }
  out.number(record.last_duration);
  out.number(static_cast<std::uint8_t>(record.quarter_turns));
  out.number(static_cast<std::uint8_t>(record.mirror));
  out.number(static_cast<std::uint8_t>(record.probed));
  out.number(static_cast<std::uint8_t>(record.times_mislead));
  out.number(static_cast<std::uint8_t>(record.held_back));
  out.number(static_cast<std::int16_t>(record.x264_build));
  out.number(static_cast<std::uint16_t>(record.sample_aspect.num));
  out.number(static_cast<std::uint16_t>(record.sample_aspect.den));
  out.number(record.video_streams);
  out.number(record.stream_number);
  out.text({reinterpret_cast<const char*>(codec.extradata),
            static_cast<std::size_t>(std::max(codec.extradata_size, 0))});
  return out.take();
}

Result<StreamRecord> parse_stream_record(std::string_view bytes) {
  Reader in(bytes);
  if (const auto version = in.number<std::uint8_t>(); version != kVersion)
    return bad_record(fmt::format("version {}, expected {}", version, kVersion));
  StreamRecord record;
  record.codec.reset(avcodec_parameters_alloc());
  if (record.codec == nullptr)
    return av_failure(ErrorCode::kMemory, "read a stream's parameters", AVERROR(ENOMEM));
  AVCodecParameters& codec = *record.codec;
  codec.codec_type = AVMEDIA_TYPE_VIDEO;
  const std::string name(in.text()), format(in.text());
  const AVCodecDescriptor* descriptor = avcodec_descriptor_get_by_name(name.c_str());
  if (descriptor == nullptr || descriptor->type != AVMEDIA_TYPE_VIDEO)
    return bad_record(fmt::format("unknown video codec of {} characters", name.size()));
  codec.codec_id = descriptor->id;
  if (avcodec_find_decoder(codec.codec_id) == nullptr)
    return Error{.code = ErrorCode::kUnsupported,
                 .message = fmt::format("no decoder for codec {}", descriptor->name)};
  codec.format = format.empty() ? AV_PIX_FMT_NONE : av_get_pix_fmt(format.c_str());
  if (!format.empty() && codec.format == AV_PIX_FMT_NONE) return bad_record("unknown pixel format");
  codec.codec_tag = in.number<std::uint32_t>();
  for_each_number(codec, [&](auto& value) {
    value = static_cast<std::remove_reference_t<decltype(value)>>(in.number<std::int32_t>());
  });
  codec.bit_rate = in.number<std::int64_t>();
  for (AVRational* rational : {&record.time_base, &record.told_rate}) {
    rational->num = in.number<std::int32_t>();
    rational->den = in.number<std::int32_t>();
    if (in.good() && (rational->num < 0 || rational->den <= 0))
      return bad_record(fmt::format("impossible time {}/{}", rational->num, rational->den));
  }
  record.last_duration = in.number<std::int64_t>();
  const auto turns = in.number<std::uint8_t>(), mirror = in.number<std::uint8_t>(),
             probed = in.number<std::uint8_t>(), mislead = in.number<std::uint8_t>(),
             held_back = in.number<std::uint8_t>();
  const auto x264_build = in.number<std::int16_t>();
  record.sample_aspect.num = in.number<std::uint16_t>();
  record.sample_aspect.den = in.number<std::uint16_t>();
  record.video_streams = in.number<std::uint32_t>();
  record.stream_number = in.number<std::uint32_t>();
  const std::string_view extradata = in.text();
  if (!in.at_end()) return bad_record(in.good() ? "bytes behind the end" : "cut short");
  if (turns > 3 || mirror > 1 || probed > 1) return bad_record("impossible orientation");
  if (mislead > 1 || held_back > kMaxReorder || x264_build < kManyBuilds)
    return bad_record("impossible order of frames");
  if (record.sample_aspect.den == 0) return bad_record("impossible sample aspect ratio");
  if (record.video_streams == 0) return bad_record("no video stream");
  if (record.time_base.num == 0) return bad_record("a tick of no length");
  record.quarter_turns = turns;
  record.mirror = mirror != 0;
  record.probed = probed != 0;
  record.times_mislead = mislead != 0;
  record.held_back = held_back;
  record.x264_build = x264_build;
  if (auto checked = check_codec(codec); !checked) return std::move(checked.error());
  if (extradata.size() > kMaxExtradataBytes) return bad_record("too much extradata");
  if (!extradata.empty()) {
    codec.extradata =
        static_cast<std::uint8_t*>(av_mallocz(extradata.size() + AV_INPUT_BUFFER_PADDING_SIZE));
    if (codec.extradata == nullptr)
      return av_failure(ErrorCode::kMemory, "read a stream's parameters", AVERROR(ENOMEM));
    std::memcpy(codec.extradata, extradata.data(), extradata.size());
    codec.extradata_size = static_cast<int>(extradata.size());
  }
  return record;
}

StreamOrder order_of(const StreamRecord& record) {
  return {.withheld_until_start = record.codec->codec_id == AV_CODEC_ID_H264,
          .times_mislead = record.times_mislead};
}

Result<void> check_shows_frames(const PacketIndex& index) {
  if (index.frame_count() > 0) return {};
  return Error{.code = ErrorCode::kDecodeError,
               .message = fmt::format("none of {} packets shows a frame", index.packets().size())};
}

VideoFacts make_facts(const StreamRecord& record, const PacketIndex& index, std::string container) {
  VideoFacts facts;
  facts.codec = avcodec_get_name(record.codec->codec_id);
  facts.container = std::move(container);
  facts.width = static_cast<std::uint32_t>(std::max(record.codec->width, 0));
  facts.height = static_cast<std::uint32_t>(std::max(record.codec->height, 0));
  facts.frame_count = index.frame_count();
  facts.packets = index.packets().size();
  facts.keyframes = index.start_count();
  facts.by_count = index.by_count();
  facts.times_unused = index.times_unused();
  facts.probed = record.probed;
  facts.sample_aspect = {record.sample_aspect.num, record.sample_aspect.den};
  facts.video_streams = record.video_streams;
  facts.stream_number = record.stream_number;
  const double tick = av_q2d(record.time_base);
  const auto& times = index.frame_times();
  facts.pts_seconds.reserve(times.size());
  for (const std::int64_t pts : times) facts.pts_seconds.push_back(static_cast<double>(pts) * tick);
  if (times.size() > 1)
    facts.average_fps = static_cast<double>(times.size() - 1) /
                        (facts.pts_seconds.back() - facts.pts_seconds.front());
  else if (record.told_rate.num > 0)
    facts.average_fps = av_q2d(record.told_rate);
  if (!times.empty()) {
    double shown = static_cast<double>(record.last_duration) * tick;
    if (shown <= 0 && facts.average_fps > 0) shown = 1 / facts.average_fps;
    facts.end_seconds = facts.pts_seconds.back() + shown;
  } else if (facts.average_fps > 0) {
    facts.end_seconds = static_cast<double>(facts.frame_count) / facts.average_fps;
  }
  facts.table_bytes = index.memory_bytes() + facts.pts_seconds.capacity() * sizeof(double);
  return facts;
}

Result<std::shared_ptr<const StreamParameters>> make_parameters(const StreamRecord& record,
                                                                const PacketIndex& index) {
  auto parameters = std::make_shared<StreamParameters>();
  parameters->codec.reset(avcodec_parameters_alloc());
  const int copied = parameters->codec == nullptr
                         ? AVERROR(ENOMEM)
                         : avcodec_parameters_copy(parameters->codec.get(), record.codec.get());
  if (copied < 0) return av_failure(ErrorCode::kMemory, "keep a stream's parameters", copied);
  // An H.264 decoder that was not told guesses how many frames to hold back, and loses frames when
  // the guess was too small. The packet table knows, or where its times do not, the bits.
  AVCodecParameters& codec = *parameters->codec;
  codec.video_delay =
      std::max(codec.video_delay, index.by_count() ? record.held_back : index.reorder_frames());
  // Decoders say this and are not told. FFmpeg's MPEG-4 decoder believes it: from 12 in a damaged
  // index it would write samples of two bytes into frames of one.
  codec.bits_per_raw_sample = 0;
  parameters->time_base = record.time_base;
  parameters->recyclable = !index.parameters_change() && record.x264_build != kManyBuilds;
  parameters->x264_build = std::max(record.x264_build, 0);
  parameters->quarter_turns = record.quarter_turns;
  parameters->mirror = record.mirror;
  parameters->sample_aspect = record.sample_aspect;
  return std::shared_ptr<const StreamParameters>(std::move(parameters));
}

}  // namespace shardreel
