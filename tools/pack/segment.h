#pragma once
// Long videos cut into shorter ones at keyframes, without encoding: `shardreel pack
// --segment-seconds`.

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "shardreel/byte_source.h"
#include "shardreel/error.h"

namespace shardreel::tools {

struct SegmentOptions {
  double seconds = 10;     ///< a segment ends at the first possible cut from here on; > 0
  bool copy_audio = true;  ///< packets that begin within the segment; false drops audio
  std::string spool_dir;   ///< of the unlinked files; empty = $TMPDIR, else /tmp
};

struct VideoSegment {
  std::uint32_t number = 0;  ///< 0, 1, ...
  std::string field;         ///< "mp4", or "mkv" where mp4 cannot hold the codecs
  std::shared_ptr<const RandomAccess> content;  // shared: the shard writer and checks read it
  double start_seconds = 0, end_seconds = 0;    ///< in the source's time: [start, end)
  std::int64_t first_frame = 0, frames = 0;  ///< [first_frame, first_frame + frames) of the source
};

/// Takes a video; gives its segments one after the other. Together they show exactly the source's
/// frames, each once, decoded to the same pixels; each begins with a keyframe and at time 0.
/// Not thread-safe.
class VideoSegmenter {
 public:
  /// Scan `source` and plan the cuts. Errors: those of opening a video; kTruncated for one that is
  /// cut short; kUnsupported where frames have no times of their own, so that there is no telling
  /// what a cut would part (raw streams, fields as packets).
  static Result<VideoSegmenter> open(std::shared_ptr<const RandomAccess> source, std::string field,
                                     SegmentOptions options);
  VideoSegmenter(VideoSegmenter&&) noexcept;
  VideoSegmenter& operator=(VideoSegmenter&&) noexcept;
  ~VideoSegmenter();

  /// 1 when the video is too short, or has no keyframe to cut at: the segment is then all of it.
  [[nodiscard]] std::uint32_t segment_count() const noexcept;

  /// Write the next segment; nothing when all are written. kStopped when `stop` asks.
  Result<std::optional<VideoSegment>> next(const std::stop_token& stop);

 private:
  struct State;
  explicit VideoSegmenter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// "name_0003": the key of a segment of the sample `key`.
std::string segment_key(const std::string& key, std::uint32_t number);

}  // namespace shardreel::tools
