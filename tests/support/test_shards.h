#pragma once
// Shards whose clips can be checked by looking at them: every frame shows its number and its
// video's.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "shardreel/batch.h"
#include "shardreel/byte_source.h"
#include "tests/support/scratch.h"

namespace shardreel::testing {

/// The content of a field to write: the text itself, or a file's bytes.
std::shared_ptr<const RandomAccess> content_of(const std::string& text);
std::shared_ptr<const RandomAccess> file_content(const std::string& path);

/// A video of 64x48 whose left half has luma 16 + 2 * frame and whose right half 16 + 8 * number,
/// so that a clip in colour "gray" shows which frames of which video it has. frames <= 100, number
/// <= 24.
std::string numbered_clip(int number, int frames, const std::string& codec_arguments);

struct NumberedShards {
  std::vector<std::string> paths;
  std::vector<int> frames;  ///< per video; video v has the key "v%03d"
};

/// `shards` shards in `dir` with `videos` videos in all, dealt in turn, of 17 to 80 frames in
/// several codecs and GOP lengths; fields mp4 (or mkv), cls (the video's number) and json.
NumberedShards make_numbered_shards(const ScratchDir& dir, int shards, int videos);

/// Check that a clip of a batch made with color = gray, width = 64, height = 48 shows exactly the
/// frames and the video that its facts name. Returns a complaint, or nothing.
std::string check_numbered_clip(const Batch& batch, std::size_t clip);
/// The same of pixels that lie anywhere.
std::string check_numbered_pixels(const ClipInfo& info, std::span<const std::byte> pixels);

}  // namespace shardreel::testing
