#pragma once
// What the ffmpeg program says a video's frames are, and what our units give, both as hashes.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "loader/decode/video_decoder.h"
#include "loader/demux/video_file.h"
#include "shardreel/byte_source.h"

namespace shardreel::testing {

/// A file's bytes, held in memory.
std::shared_ptr<const RandomAccess> file_in_memory(const std::string& path);
std::shared_ptr<const RandomAccess> bytes_in_memory(std::string bytes);

/// Hash of every frame that `ffmpeg -noautorotate -autoscale 0 -vsync passthrough` writes for the
/// video stream that is taken, in its own pixel format.
std::vector<std::string> oracle_frames(const std::string& path, long at_most = -1);

/// What decoding all units gave.
struct Decoded {
  std::map<std::int64_t, std::string> frames;  ///< hash by display index
  std::map<std::int64_t, bool> corrupt;
  std::uint64_t repeated = 0;  ///< frames given again with another hash
  DecodeReport total;
  std::uint64_t units = 0, reused = 0, packet_bytes = 0, promised_bytes = 0;
  std::uint64_t peak_frame_bytes = 0;
  std::uint64_t decoder_bytes = 0;  ///< that units were planned with at most
  std::vector<std::string> failures;
  std::vector<std::uint64_t> window_ordinals;  ///< in the order units gave them
};

/// Windows of `length` frames `stride` apart that cover frames [0, count), the last one shorter.
std::vector<Window> dense_windows(std::int64_t count, std::int64_t length, std::int64_t stride);

/// Plan and decode `windows` of an open video; with `split`, every unit in as many as it can be.
Decoded decode_windows(VideoFile& video, std::vector<Window> windows, VideoDecoder& decoder,
                       bool streaming = false, bool split = false);

/// Open from memory with the file's extension as field.
Result<VideoFile> open_video(const std::string& path, bool selective = true,
                             std::uint32_t unit_clips = 32);

/// Dense and sparse units of a file give the oracle's frames, all of them but those at the start.
void expect_equals_oracle(const std::string& path, std::size_t skipped_at_start = 0);

/// Hash of a frame's pixels without padding, as the oracle has it.
std::string frame_hash(const AVFrame& frame);

}  // namespace shardreel::testing
