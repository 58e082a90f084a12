#pragma once
// One open video: its facts from a packet scan, and its units one after the other.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "loader/demux/unit.h"
#include "loader/demux/unit_plan.h"
#include "loader/window/window_plan.h"
#include "shardreel/byte_source.h"
#include "shardreel/error.h"
#include "shardreel/video_record.h"

namespace shardreel {

/// What the packet scan found; enough to plan windows and to choose units.
struct VideoFacts {
  std::string codec;      ///< FFmpeg's name, "h264"
  std::string container;  ///< FFmpeg's demuxer name
  std::uint32_t width = 0,
                height = 0;  ///< coded, before rotation, after the codec's cropping where known
  /// Of the coded picture; 0/1 when unknown. What only the codec tells is known where the stream
  /// was probed, from an index, and with `VideoFileOptions::sample_aspect`.
  Rational sample_aspect;
  /// Video streams that are no attached pictures, and the number of the one taken among all
  /// streams.
  std::uint32_t video_streams = 1, stream_number = 0;
  std::int64_t frame_count = 0;     ///< shown frames, edit list applied
  std::vector<double> pts_seconds;  ///< [frame_count] ascending; empty without timestamps
  double end_seconds = 0;
  double average_fps = 0;  ///< 0 when unknown
  std::uint64_t packets = 0;
  std::uint64_t keyframes = 0;    ///< usable ones
  bool by_count = false;          ///< see Unit::by_count
  bool times_unused = false;      ///< the frames' times do not tell their order
  bool probed = false;            ///< avformat_find_stream_info had to run
  bool indexed = false;           ///< opened from an index: the container was not looked at
  std::uint64_t table_bytes = 0;  ///< memory the packet table takes

  /// What window planning needs of them; it borrows the times.
  [[nodiscard]] VideoTimes times() const {
    return {frame_count, pts_seconds, end_seconds, average_fps > 0 ? average_fps : 25};
  }
};

/// The facts that opening this video gives, from what an index has of it. kCorruptArchive where the
/// records contradict themselves.
Result<VideoFacts> indexed_facts(const VideoRecord& record, std::span<const PacketRecord> packets);

struct VideoFileOptions {
  std::string field;  ///< the field's name ("mp4"): a hint for the container, never trusted
  bool selective =
      true;  ///< leave out packets that no wanted frame depends on; false only in tests
  std::uint32_t unit_clips = 32;
  UnitLength unit_length = UnitLength::kLong;
  /// What decoding may take: pictures that would take more are refused, unless the container tells
  /// of them (then the estimate says it before anything is decoded).
  std::uint64_t most_decoder_bytes = std::uint64_t{512} << 20;
  /// Learn the sample aspect ratio, even where that takes probing.
  bool sample_aspect = false;
};

/// What is known of a unit before its packets are read.
struct UnitOutline {
  std::uint64_t first_window = 0;  ///< ordinal of its first window
  std::uint64_t clips = 0;
  std::uint64_t packets = 0;
  std::uint64_t payload_bytes = 0;  ///< of the packets
  /// Bytes that the packets take in memory (with overhead).
  [[nodiscard]] std::uint64_t packet_bytes() const {
    return payload_bytes + packets * kPacketOverheadBytes;
  }
};

/// Takes the bytes of one video; gives its facts, then its units in order. Opens the video
/// stream that `Demuxer` takes; only real media demuxers are allowed, no protocols, no playlists:
/// nothing outside `source` is ever touched. Not thread-safe; may move between threads.
class VideoFile {
 public:
  /// Open and scan. Errors: kNotMedia, kNoVideoStream, kEncrypted, kUnsupported, kTruncated,
  /// kDecodeError.
  static Result<VideoFile> open(std::shared_ptr<const RandomAccess> source,
                                const VideoFileOptions& options);
  /// Open with what an index has of this video. Where it is `direct` nothing of `source` is read
  /// here, and later only the packets of units; else this is `open`. Same facts, units and frames
  /// as without it. kCorruptArchive where the records contradict themselves or the source's size.
  static Result<VideoFile> open_indexed(std::shared_ptr<const RandomAccess> source,
                                        const VideoRecord& record,
                                        std::span<const PacketRecord> packets,
                                        const VideoFileOptions& options);
  VideoFile(VideoFile&&) noexcept;
  VideoFile& operator=(VideoFile&&) noexcept;
  ~VideoFile();

  [[nodiscard]] const VideoFacts& facts() const noexcept;
  [[nodiscard]] const std::shared_ptr<const StreamParameters>& parameters() const noexcept;

  /// Decide how `windows` (ascending) are spread over units. Call once, before `next_unit`. A clip
  /// never straddles units. Returns the number of units.
  std::size_t plan_units(std::vector<Window> windows);

  /// Describe the unit that `next_unit` cuts next; all zeros when there is none.
  [[nodiscard]] UnitOutline outline_next() const;
  /// Describe all units that are still to be cut.
  [[nodiscard]] std::vector<UnitOutline> outlines() const;

  /// Cut the next unit into several where decoding can start from nothing, so that they can be
  /// decoded side by side: a few packets are then decoded twice. Returns how many units it is now;
  /// 1, and nothing happens, where there is no such place or the packets of all would take more
  /// than `most_bytes`.
  std::size_t split_next(std::uint64_t most_bytes);

  /// Leave the next units out.
  void skip_units(std::size_t units);

  /// Cut the next unit; nothing when all are cut. With `streaming` the unit reads its packets
  /// itself while it is decoded (it then shares `source`).
  Result<std::optional<Unit>> next_unit(bool streaming);

 private:
  struct State;
  explicit VideoFile(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace shardreel
