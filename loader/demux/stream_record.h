#pragma once
// What a container says of a video stream, kept apart from the demuxer: all that planning and
// decoding need besides the packets.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "loader/demux/demuxer.h"
#include "loader/demux/packet_index.h"
#include "loader/demux/packet_scan.h"
#include "loader/demux/unit.h"
#include "loader/demux/video_file.h"
#include "shardreel/error.h"

namespace shardreel {

struct StreamRecord {
  AVCodecParametersPtr codec;  ///< as the demuxer gave them, with extradata
  AVRational time_base{0, 1};
  AVRational told_rate{0, 1};      ///< frames a second as the container tells; 0/1 when it does not
  std::int64_t last_duration = 0;  ///< this and what follows: as in `PacketScan`
  bool times_mislead = false;
  int held_back = 0;
  int x264_build = 0;
  std::uint32_t quarter_turns = 0;  ///< display matrix, clockwise, after mirroring
  bool mirror = false;
  AVRational sample_aspect{0, 1};                      ///< `Demuxer::sample_aspect`
  std::uint32_t video_streams = 1, stream_number = 0;  ///< how many there are, which one this is
  bool probed = false;                                 ///< avformat_find_stream_info had to run
};

/// Copy what the demuxer knows, and what the scan of its packets found. Errors: kMemory.
Result<StreamRecord> read_stream(const Demuxer& demuxer, const PacketScan& scan);

/// What the demuxer knew as bytes (docs/format.md), the same on every machine, and back: any bytes
/// are a record or kCorruptArchive. Codecs and pixel formats go by FFmpeg's names.
std::string write_stream_record(const StreamRecord& record);
Result<StreamRecord> parse_stream_record(std::string_view bytes);

/// What the record says of the packets' order.
StreamOrder order_of(const StreamRecord& record);

/// kDecodeError when there is nothing to show.
Result<void> check_shows_frames(const PacketIndex& index);

/// Facts and decoder parameters of a stream with these packets.
VideoFacts make_facts(const StreamRecord& record, const PacketIndex& index, std::string container);
Result<std::shared_ptr<const StreamParameters>> make_parameters(const StreamRecord& record,
                                                                const PacketIndex& index);

}  // namespace shardreel
