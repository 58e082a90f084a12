#pragma once
// Packets into an mp4 or Matroska file of no name.

#include <cstdint>
#include <memory>
#include <string>

#include "loader/media/av_handles.h"
#include "shardreel/byte_source.h"
#include "shardreel/error.h"

namespace shardreel::tools {

/// Whether the mp4 muxer has a place for this codec.
bool mp4_holds(AVCodecID codec);

/// Takes packets of one video stream and perhaps one audio stream in the order they are to lie in;
/// gives the file. mp4 has its index in front. Nothing in the file depends on when or by what
/// version it was written. Uses about 64 KiB besides the muxer's own packet table. Not thread-safe.
class MediaWriter {
 public:
  /// Open an unlinked file in `spool_dir`. `container`: "mp4" or "matroska".
  static Result<MediaWriter> open(const std::string& container, const std::string& spool_dir);
  MediaWriter(MediaWriter&&) noexcept;
  MediaWriter& operator=(MediaWriter&&) noexcept;
  ~MediaWriter();

  /// Add a stream like `codec`; the packets' times are in `time_base`. Rotation and mastering data
  /// of `like` (may be null) go along. Returns its number. Only before `begin`.
  Result<int> add_stream(const AVCodecParameters& codec, AVRational time_base,
                         const AVStream* like);

  /// Write the head. The first stream's times are kept exactly in mp4, to a millisecond in
  /// Matroska.
  Result<void> begin();

  /// Write a packet of the stream with this number; its bytes are taken. Frames shown before time 0
  /// are hidden by mp4's edit list.
  Result<void> write(AVPacket& packet, int stream);

  /// Write what remains and give the file.
  Result<std::shared_ptr<const RandomAccess>> finish();

 private:
  struct State;
  explicit MediaWriter(std::unique_ptr<State> state);
  Result<void> check(const char* doing, int status);
  std::unique_ptr<State> state_;
};

}  // namespace shardreel::tools
