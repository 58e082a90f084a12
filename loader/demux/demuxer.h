#pragma once
// One pass over the packets of a video's stream.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "loader/media/av_handles.h"
#include "loader/media/av_io.h"
#include "shardreel/byte_source.h"
#include "shardreel/error.h"

namespace shardreel {

/// Takes a video's bytes; gives the packets of its best video stream, in the container's order, the
/// same ones every time it is opened. Of several that are no attached pictures the best is the one
/// that FFmpeg's av_find_best_stream names among those that can be decoded and show more than one
/// picture: covers without the flag of one are common, and muxers mark the first stream as default.
/// Only demuxers of real media are allowed, with no protocols and no way to open anything besides
/// `source`. Holds FFmpeg's context and one packet's bytes. Not thread-safe.
class Demuxer {
 public:
  /// Probing starts decoders, to learn what the container does not say.
  enum class Probing {
    kWhereNeeded,  ///< for all that decoding takes
    kForAspect,    ///< also for a sample aspect ratio that the container does not tell
    kAlways,       ///< for all that there is to know
  };

  /// Open `source`. `field` ("mp4") is a hint for the container, as a file's extension would be.
  /// Decoders that probing starts refuse pictures of more than `most_pixels`; where nothing smaller
  /// tells what the stream is, that is kMemory. Other errors: kNotMedia, kNoVideoStream,
  /// kEncrypted, kUnsupported, and whatever the source reports.
  static Result<Demuxer> open(std::shared_ptr<const RandomAccess> source, const std::string& field,
                              Probing probing = Probing::kWhereNeeded,
                              std::uint64_t most_pixels = INT32_MAX);
  Demuxer(Demuxer&&) noexcept = default;
  // Assigning would free the input before the context that reads from it.
  Demuxer& operator=(Demuxer&&) = delete;

  /// Read the next packet of the stream; false at the end. An error in the container ends the
  /// stream as well (`cut_short` tells), only the source's own errors are returned.
  Result<bool> next(AVPacket& packet);

  /// Whether the container has an index that leads to packets, so that `seek` is worth a try.
  [[nodiscard]] bool has_index() const noexcept;
  /// Try to go on at or before the packet with these times. Where that led is for the caller to
  /// find out; false means that the position is unknown: open again.
  bool seek(std::int64_t dts, std::int64_t pts);

  [[nodiscard]] const AVStream& stream() const noexcept { return *stream_; }
  [[nodiscard]] const AVFormatContext& format() const noexcept { return *format_; }
  /// Of the coded picture: the container's word, else (as far as probed) the codec's; both numbers
  /// below 2^16, 0/1 when unknown.
  [[nodiscard]] AVRational sample_aspect() const;
  /// Video streams that are no attached pictures.
  [[nodiscard]] std::uint32_t video_streams() const noexcept { return video_streams_; }
  [[nodiscard]] bool probed() const noexcept { return probed_; }  ///< streams had to be probed
  [[nodiscard]] bool cut_short() const noexcept { return cut_short_; }

 private:
  Demuxer(AvIo io, std::uint64_t most_pixels) : io_(std::move(io)), most_pixels_(most_pixels) {}
  Result<void> open_container(const std::string& field, Probing probing);
  Result<void> probe(const std::string& field);
  Result<std::vector<bool>> find_pictures();
  Result<void> choose_stream(const std::vector<bool>& pictures);

  AvIo io_;  // before the format context, which reads from it until it is closed
  AVInputContextPtr format_;
  AVStream* stream_ = nullptr;  // owned by format_
  const std::uint64_t most_pixels_;
  std::uint32_t video_streams_ = 0;
  bool probed_ = false;
  bool cut_short_ = false;
};

}  // namespace shardreel
