#include "loader/demux/packet_traits.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>
#include <utility>

#include "loader/demux/bit_reader.h"

namespace shardreel {
namespace {

using Bytes = std::span<const std::uint8_t>;

/// Call `visit(bytes behind the code)` for each start code 00 00 01; what it returns false for ends
/// the walk.
template <typename Visit>
void for_each_start_code(Bytes data, Visit&& visit) {
  for (std::size_t i = 2; i + 1 < data.size();) {
    if (data[i] > 1) {
      i += 3;
    } else if (data[i] == 1 && data[i - 1] == 0 && data[i - 2] == 0) {
      if (!visit(data.subspan(i + 1))) return;
      i += 3;
    } else {
      ++i;
    }
  }
}

/// Call `visit(nal)` for each NAL unit; with start codes `nal` reaches to the packet's end, which
/// is enough for headers.
template <typename Visit>
void for_each_nal(Bytes data, int length_bytes, Visit&& visit) {
  if (length_bytes == 0) {
    for_each_start_code(data, [&](Bytes nal) {
      visit(nal);
      return true;
    });
    return;
  }
  const auto prefix = static_cast<std::size_t>(length_bytes);
  while (data.size() > prefix) {
    std::size_t size = 0;
    for (std::size_t i = 0; i < prefix; ++i) size = (size << 8) | data[i];
    data = data.subspan(prefix);
    if (size == 0 || size > data.size()) return;
    visit(data.first(size));
    data = data.subspan(size);
  }
}

/// The first bytes of a NAL unit without emulation prevention (00 00 03).
class RawPayload {
 public:
  explicit RawPayload(Bytes nal) {
    unsigned zeros = 0;
    for (const std::uint8_t byte : nal) {
      if (size_ == bytes_.size()) break;
      if (zeros >= 2 && byte == 3) {
        zeros = 0;
        continue;
      }
      zeros = byte == 0 ? zeros + 1 : 0;
      bytes_[size_++] = byte;
    }
  }
  [[nodiscard]] Bytes bytes() const { return Bytes(bytes_).first(size_); }

 private:
  std::array<std::uint8_t, 256> bytes_{};
  std::size_t size_ = 0;
};

/// What an H.264 SEI NAL unit says that decoding depends on.
struct SeiFacts {
  bool exact_recovery = false;  ///< everything shown from here on is right
  std::optional<int> x264_build;
};

/// The build that x264's own message names ("x264 - core 142 ..."), behind 16 bytes of identity.
std::optional<int> find_x264_build(Bytes payload) {
  constexpr std::string_view kWords = "x264 - core ";
  // FFmpeg's decoder imitates faults of builds before this one, and no others.
  constexpr int kFirstRightBuild = 151;
  constexpr std::size_t kIdentityBytes = 16;
  if (payload.size() < kIdentityBytes) return std::nullopt;
  const Bytes bytes = payload.subspan(kIdentityBytes);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (!text.starts_with(kWords)) return std::nullopt;
  const std::string_view number = text.substr(kWords.size(), 10);
  int build = 0;
  if (std::from_chars(number.data(), number.data() + number.size(), build).ec != std::errc{})
    return std::nullopt;
  return build > 0 && build < kFirstRightBuild ? build : 0;
}

SeiFacts read_sei(Bytes nal) {
  constexpr std::size_t kUserData = 5, kRecoveryPoint = 6;
  const RawPayload raw(nal.subspan(1));
  Bytes rest = raw.bytes();
  const auto number = [&rest] {
    std::size_t value = 0;
    while (!rest.empty() && rest[0] == 255) {
      value += 255;
      rest = rest.subspan(1);
    }
    if (!rest.empty()) {
      value += rest[0];
      rest = rest.subspan(1);
    }
    return value;
  };
  SeiFacts facts;
  while (rest.size() > 2) {
    const std::size_t type = number();
    const std::size_t size = number();
    // recovery_frame_cnt
    if (type == kRecoveryPoint) facts.exact_recovery |= BitReader(rest).golomb() == 0;
    if (type == kUserData) {
      if (const auto build = find_x264_build(rest)) facts.x264_build = build;
    }
    if (size >= rest.size()) break;
    rest = rest.subspan(size);
  }
  return facts;
}

/// Whether a parameter set only repeats what the container says already. Only asked where NAL units
/// have lengths; with start codes their end is not known here.
bool repeats(Bytes extradata, Bytes nal, int length_bytes) {
  return length_bytes > 0 &&
         std::search(extradata.begin(), extradata.end(), nal.begin(), nal.end()) != extradata.end();
}

PacketTraits inspect_h264(Bytes data, int length_bytes, Bytes extradata, ScanTraits& scan) {
  bool idr = false, recovery = false, all_intra = true, coded = false, referenced = false;
  PacketTraits traits;
  for_each_nal(data, length_bytes, [&](Bytes nal) {
    const unsigned type = nal[0] & 31u;
    if (type >= 1 && type <= 5) {
      coded = true;
      idr |= type == 5;
      referenced |= (nal[0] & 0x60) != 0;
      const RawPayload raw(nal.subspan(1).first(std::min<std::size_t>(nal.size() - 1, 16)));
      BitReader bits(raw.bytes());
      bits.golomb();  // first_mb_in_slice
      const std::uint32_t slice_type = bits.golomb() % 5;
      all_intra &= slice_type == 2 || slice_type == 4;  // I, SI
    } else if (type == 6 && nal.size() > 1) {
      const SeiFacts sei = read_sei(nal);
      recovery |= sei.exact_recovery;
      if (sei.x264_build) scan.x264_build = sei.x264_build;
    } else if (type == 7 || type == 8) {
      traits.parameter_sets |= !repeats(extradata, nal, length_bytes);
    } else if (type == 10 || type == 11) {
      traits.sequence_end = true;
    }
  });
  if (idr)
    traits.start = RandomAccessPoint::kClosed;
  else if (recovery && coded && all_intra)
    traits.start = RandomAccessPoint::kOpen;
  traits.droppable = coded && !referenced && !idr;
  return traits;
}

PacketTraits inspect_hevc(Bytes data, int length_bytes, Bytes extradata) {
  PacketTraits traits;
  bool first = true;
  for_each_nal(data, length_bytes, [&](Bytes nal) {
    if (nal.size() < 2) return;
    const unsigned type = (nal[0] >> 1) & 63u;
    const unsigned layer = ((nal[0] & 1u) << 5) | (nal[1] >> 3);
    if (layer != 0) return;  // further layers (alpha, depth) are not decoded
    if (type >= 32 && type <= 34) traits.parameter_sets |= !repeats(extradata, nal, length_bytes);
    if (type == 36 || type == 37) traits.sequence_end = true;
    if (type > 21 || !first) return;
    first = false;
    traits.temporal_layer = static_cast<std::uint8_t>((nal[1] & 7u) > 0 ? (nal[1] & 7u) - 1 : 0);
    traits.skipped_leading = type == 8 || type == 9;
    traits.droppable = type <= 14 && type % 2 == 0;  // sub-layer non-reference pictures
    if (type >= 16)
      traits.start = type == 21 ? RandomAccessPoint::kOpen : RandomAccessPoint::kClosed;
  });
  return traits;
}

PacketTraits inspect_vp8(Bytes data) {
  PacketTraits traits;
  if (data.empty()) return traits;
  if ((data[0] & 1) == 0) traits.start = RandomAccessPoint::kClosed;
  traits.shown = (data[0] >> 4) & 1;
  return traits;
}

PacketTraits inspect_vp9(Bytes data) {
  PacketTraits traits;
  traits.shown = 0;
  bool first = true;
  const auto frame = [&](Bytes bytes) {
    BitReader bits(bytes);
    bits.bits(2);  // frame_marker
    const std::uint32_t profile = bits.bit() | (bits.bit() << 1);
    if (profile == 3) bits.bit();
    if (bits.bit() != 0) {  // show_existing_frame
      ++traits.shown;
      first = false;
      return;
    }
    const bool key = bits.bit() == 0;
    if (bits.bit() != 0) ++traits.shown;
    if (first && key) traits.start = RandomAccessPoint::kClosed;
    first = false;
  };
  if (data.empty()) return traits;
  // A superframe: several frames, their sizes in an index at the end (VP9 bitstream, annex B).
  const unsigned marker = data.back();
  if ((marker & 0xe0u) == 0xc0u) {
    const std::size_t count = (marker & 7u) + 1;
    const std::size_t bytes_each = ((marker >> 3) & 3u) + 1;
    const std::size_t index_size = 2 + bytes_each * count;
    if (data.size() >= index_size && data[data.size() - index_size] == marker) {
      Bytes index = data.last(index_size).subspan(1);
      Bytes rest = data.first(data.size() - index_size);
      for (std::size_t i = 0; i < count; ++i) {
        std::size_t size = 0;
        for (std::size_t b = 0; b < bytes_each; ++b)
          size |= static_cast<std::size_t>(index[i * bytes_each + b]) << (8 * b);
        if (size > rest.size()) break;
        if (size > 0) frame(rest.first(size));
        rest = rest.subspan(size);
      }
      return traits;
    }
  }
  frame(data);
  return traits;
}

PacketTraits inspect_av1(Bytes data) {
  PacketTraits traits;
  bool sequence_header = false, reduced = false;
  while (!data.empty()) {
    const unsigned type = (data[0] >> 3) & 15u;
    const bool extension = (data[0] & 4) != 0, has_size = (data[0] & 2) != 0;
    data = data.subspan(std::min<std::size_t>(data.size(), extension ? 2 : 1));
    std::size_t size = data.size();
    if (has_size) {
      size = 0;
      for (unsigned i = 0; i < 8 && !data.empty(); ++i) {
        const std::uint8_t byte = data[0];
        data = data.subspan(1);
        size |= static_cast<std::size_t>(byte & 127u) << (7 * i);
        if ((byte & 128) == 0) break;
      }
    }
    if (size > data.size()) return traits;
    BitReader bits(data.first(size));
    if (type == 1) {  // sequence header
      sequence_header = traits.parameter_sets = true;
      bits.bits(4);  // profile, still_picture
      reduced = bits.bit() != 0;
    } else if (type == 3 || type == 6) {  // frame header, frame
      const bool existing = !reduced && bits.bit() != 0;
      const bool shown_key = reduced || (!existing && bits.bits(2) == 0 && bits.bit() != 0);
      // Without the sequence header a decoder that starts here shows nothing.
      if (shown_key && sequence_header) traits.start = RandomAccessPoint::kClosed;
      return traits;
    }
    data = data.subspan(size);
  }
  return traits;
}

PictureOrder order_of(bool between) {
  return {between ? PictureOrder::Rule::kBetween : PictureOrder::Rule::kAnchor};
}

PacketTraits inspect_mpeg4(Bytes data, bool has_extradata, ScanTraits& scan) {
  PacketTraits traits;
  unsigned pictures = 0, first_type = 0;
  for_each_start_code(data, [&](Bytes code) {
    if (code[0] == 0xb6) {
      if (pictures++ == 0) first_type = code.size() > 1 ? code[1] >> 6 : 1;
    } else if (code[0] >= 0x20 && code[0] <= 0x2f) {
      traits.parameter_sets = true;
    }
    return true;
  });
  // DivX's packed bitstream: a picture and the B-picture shown before it in one packet, then a stub
  // in its place. One packet is still one frame on the whole, but not its own.
  traits.shown = pictures > 0 ? 1 : 0;
  traits.packed = pictures > 1;
  if (pictures == 1 && first_type == 0 && (has_extradata || traits.parameter_sets))
    traits.start = RandomAccessPoint::kOpen;
  traits.droppable = pictures == 1 && first_type == 2;  // B-VOPs are never references
  scan.order = order_of(first_type == 2);
  return traits;
}

PacketTraits inspect_mpeg12(Bytes data, ScanTraits& scan) {
  PacketTraits traits;
  bool sequence_header = false, picture = false;
  for_each_start_code(data, [&](Bytes code) {
    if (code[0] == 0xb3) sequence_header = true;
    if (code[0] != 0 || code.size() < 3) return true;
    picture = true;
    const unsigned type = (code[2] >> 3) & 7u;
    if (type == 1 && sequence_header) traits.start = RandomAccessPoint::kOpen;
    scan.order = order_of(type == 3);
    return false;
  });
  traits.parameter_sets = sequence_header;
  if (!picture) traits.shown = 0;
  return traits;
}

// Containers take FFmpeg's word for keyframes, and its parser takes every H.263 picture for one.
PacketTraits inspect_h263(Bytes data) {
  PacketTraits traits;
  BitReader bits(data);
  if (bits.bits(22) != 0x20) return traits;  // start code
  bits.bits(8 + 5);                          // time, marker bits, split screen, camera, freeze
  const std::uint32_t format = bits.bits(3);
  bool intra = false;
  if (format != 7) {
    intra = bits.bit() == 0;
  } else if (bits.bits(3) == 1) {  // H.263+ with all of its types; else they are an earlier one's
    bits.bits(18);
    intra = bits.bits(3) == 0;
  }
  if (intra) traits.start = RandomAccessPoint::kOpen;
  return traits;
}

/// Codecs whose every packet is a picture of its own.
bool is_intra_only(AVCodecID codec) {
  constexpr std::array kCodecs{AV_CODEC_ID_PRORES,   AV_CODEC_ID_DNXHD,    AV_CODEC_ID_DVVIDEO,
                               AV_CODEC_ID_RAWVIDEO, AV_CODEC_ID_JPEG2000, AV_CODEC_ID_HUFFYUV,
                               AV_CODEC_ID_UTVIDEO,  AV_CODEC_ID_V210};
  return std::find(kCodecs.begin(), kCodecs.end(), codec) != kCodecs.end();
}

/// A picture whose tables are in an earlier one is no start; FFmpeg keeps Huffman tables, too.
PacketTraits inspect_jpeg(Bytes data) {
  PacketTraits traits;
  bool quantisation = false;
  for (std::size_t i = 0; i + 1 < data.size(); ++i) {
    if (data[i] != 0xff) continue;
    if (data[i + 1] == 0xda) break;  // the scan begins
    quantisation |= data[i + 1] == 0xdb;
    traits.parameter_sets |= data[i + 1] == 0xc4;
  }
  if (quantisation) traits.start = RandomAccessPoint::kClosed;
  traits.droppable = quantisation;
  return traits;
}

}  // namespace

/// FFmpeg's parser knows what takes whole parameter sets to know: whether an H.264 picture is a
/// field, where pictures are shown.
class PacketInspector::Parser {
 public:
  explicit Parser(const AVCodecParameters& codec)
      : parser_(av_parser_init(codec.codec_id)), context_(avcodec_alloc_context3(nullptr)) {
    if (parser_ != nullptr) parser_->flags |= PARSER_FLAG_COMPLETE_FRAMES;
    if (context_ != nullptr && avcodec_parameters_to_context(context_.get(), &codec) < 0)
      context_.reset();
  }
  Parser(const Parser&) = delete;
  Parser& operator=(const Parser&) = delete;
  ~Parser() { av_parser_close(parser_); }

  /// Parse a packet; what `state` says is of it then. False where there is no parser.
  bool parse(Bytes data) {
    if (parser_ == nullptr || context_ == nullptr || data.size() > INT32_MAX) return false;
    std::uint8_t* out = nullptr;
    int out_size = 0;
    av_parser_parse2(parser_, context_.get(), &out, &out_size, data.data(),
                     static_cast<int>(data.size()), AV_NOPTS_VALUE, AV_NOPTS_VALUE, -1);
    return true;
  }
  [[nodiscard]] const AVCodecParserContext& state() const { return *parser_; }
  [[nodiscard]] PictureOrder count() const {
    return {PictureOrder::Rule::kCount, parser_->output_picture_number};
  }

 private:
  AVCodecParserContext* parser_;
  AVCodecContextPtr context_;
};

PacketInspector::PacketInspector(const AVCodecParameters& codec) : codec_(codec.codec_id) {
  extradata_.assign(codec.extradata, codec.extradata + codec.extradata_size);
  const Bytes extradata = extradata_;
  if (codec_ == AV_CODEC_ID_H264) {
    if (extradata.size() >= 7 && extradata[0] == 1) nal_length_bytes_ = (extradata[4] & 3) + 1;
  } else if (codec_ == AV_CODEC_ID_HEVC) {
    // hvcC starts with its version, start codes with zeros.
    if (extradata.size() >= 23 && (extradata[0] != 0 || extradata[1] != 0 || extradata[2] > 1))
      nal_length_bytes_ = (extradata[21] & 3) + 1;
  }
  const AVCodecDescriptor* descriptor = avcodec_descriptor_get(codec_);
  reorders_ = descriptor == nullptr || (descriptor->props & AV_CODEC_PROP_REORDER) != 0;
  if (reorders_) parser_ = std::make_unique<Parser>(codec);
}

PacketInspector::~PacketInspector() = default;

PacketTraits PacketInspector::inspect(Bytes packet, bool container_key, ScanTraits& scan) {
  PacketTraits traits;
  if (!reorders_) scan.order.rule = PictureOrder::Rule::kDecoding;
  switch (codec_) {
    case AV_CODEC_ID_H264:
      traits = inspect_h264(packet, nal_length_bytes_, extradata_, scan);
      if (parser_->parse(packet)) {
        const auto structure = parser_->state().picture_structure;
        traits.bottom = structure == AV_PICTURE_STRUCTURE_BOTTOM_FIELD;
        traits.field = traits.bottom || structure == AV_PICTURE_STRUCTURE_TOP_FIELD;
        scan.order = parser_->count();
      }
      if (traits.field) traits.droppable = false;
      break;
    case AV_CODEC_ID_HEVC:
      traits = inspect_hevc(packet, nal_length_bytes_, extradata_);
      if (parser_->parse(packet)) scan.order = parser_->count();
      break;
    case AV_CODEC_ID_VP8: traits = inspect_vp8(packet); break;
    case AV_CODEC_ID_VP9: traits = inspect_vp9(packet); break;
    case AV_CODEC_ID_AV1: traits = inspect_av1(packet); break;
    case AV_CODEC_ID_MJPEG: traits = inspect_jpeg(packet); break;
    case AV_CODEC_ID_MPEG4: traits = inspect_mpeg4(packet, !extradata_.empty(), scan); break;
    case AV_CODEC_ID_MPEG1VIDEO:
    case AV_CODEC_ID_MPEG2VIDEO: traits = inspect_mpeg12(packet, scan); break;
    case AV_CODEC_ID_H263: traits = inspect_h263(packet); break;
    case AV_CODEC_ID_THEORA:
    case AV_CODEC_ID_FLV1:
      if (container_key) traits.start = RandomAccessPoint::kOpen;
      break;
    default:
      // Other codecs' keyframes are not proven to be clean starts: one unit from the beginning.
      if (is_intra_only(codec_)) {
        traits.start = RandomAccessPoint::kClosed;
        traits.droppable = true;
      } else if (reorders_ && parser_->parse(packet) &&
                 parser_->state().pict_type != AV_PICTURE_TYPE_NONE) {
        scan.order = order_of(parser_->state().pict_type == AV_PICTURE_TYPE_B);
      }
  }
  return traits;
}

}  // namespace shardreel
