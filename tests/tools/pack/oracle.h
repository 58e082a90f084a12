#pragma once
// What the ffmpeg programs say of a video.

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "shardreel/byte_source.h"

namespace shardreel::testing {

/// The times of all frames that ffprobe shows of the first real video stream, in seconds.
std::vector<double> probe_times(const std::string& path);

/// Which frames (in display order) ffprobe calls keyframes, from the container's flags.
std::vector<std::size_t> probe_keyframes(const std::string& path);

/// One value of that stream, e.g. "width" or "stream_side_data=rotation"; empty when not there.
std::string probe_stream(const std::string& path, const std::string& entry);

/// Hashes of the decoded frames, in order, by the ffmpeg program. `filters` as ffmpeg's -vf takes
/// them.
std::vector<std::string> frame_hashes(const std::string& path, const std::string& filters = "");

/// PSNR of the luma between two videos of equally many frames, after `filters` on the first.
double luma_psnr(const std::string& reference, const std::string& path, const std::string& filters);

std::shared_ptr<const RandomAccess> open_bytes(const std::string& path);
std::string all_bytes(const RandomAccess& content);
/// Write `content` to a file and return its path.
std::string saved(const RandomAccess& content, const std::string& path);

}  // namespace shardreel::testing
