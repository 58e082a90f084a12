#pragma once
// What a stream's own packets say of how large their pictures are: containers tell one size, and a
// stream may change it, or never have had it.

#include <cstdint>
#include <span>

#include "loader/demux/unit.h"
#include "loader/media/av_handles.h"

namespace shardreel {

/// Reads headers of one stream's packets, in their order, and allocates no picture. Codecs whose
/// headers are not read say nothing. Not thread-safe.
class PictureSizes {
 public:
  explicit PictureSizes(const AVCodecParameters& codec);
  PictureSizes(const PictureSizes&) = delete;
  PictureSizes& operator=(const PictureSizes&) = delete;
  ~PictureSizes() { av_parser_close(parser_); }

  /// Look at a packet; returns the coded size of its picture as far as it is known: that of the
  /// last packet that told one, else zeros.
  PictureSize look(std::span<const std::uint8_t> packet);
  /// The one with the most pixels so far.
  [[nodiscard]] PictureSize largest() const noexcept { return largest_; }

 private:
  PictureSize ask_parser(std::span<const std::uint8_t> packet);

  const AVCodecID codec_;
  AVCodecParserContext* parser_ = nullptr;  // FFmpeg's, where it knows sizes; closed here
  AVCodecContextPtr context_;               // of the parser; never opened
  PictureSize now_, largest_;
};

}  // namespace shardreel
