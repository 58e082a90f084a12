#pragma once
// Every knob of the loader. One struct of small structs; the flat names (JSON, command line,
// Python) are the member names. docs/options.md is generated from the table behind `option_table`.
// "Decides the order" and "decides the pixels" mark what the delivered data depends on; nothing
// else changes it.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <shardreel/error.h>
#include <shardreel/shard_reader.h>

namespace shardreel {

enum class OnError { kSkip, kFail };
enum class ShuffleMode { kAll, kShards, kNone };
enum class WindowChoice { kRandom, kUniform };
enum class ShortPolicy { kDrop, kRepeatLast, kLoop };
enum class ResizeMode { kShortSide, kStretch, kFit };
enum class SampleAspect { kIgnore, kApply };
enum class CropMode { kCenter, kRandom, kResized };
enum class ColorMode { kRgb, kGray, kYuv420 };
enum class DType { kUint8, kFloat16, kFloat32 };
enum class Layout { kThwc, kTchw, kCthw };
enum class RankMode { kEqual, kExact };
enum class ShuffleDomain { kFrames, kPackets, kAuto };
enum class PageCache { kAuto, kKeep, kDrop };
enum class DecodeDevice { kCpu, kCuda, kAuto };

/// What is read. Decides the order, except where a member says otherwise.
struct InputOptions {
  std::vector<std::string>
      urls;  ///< patterns, see shard_url.h; also `-` (stdin) and `pipe:COMMAND`
  /// The fields that may hold the video; the first one present is taken. So those that often hold a
  /// picture beside the video come last.
  std::vector<std::string> video_fields = {"mp4",  "m4v",  "mov",  "mkv",  "webm",  "avi", "ts",
                                           "m2ts", "mts",  "mpg",  "mpeg", "flv",   "3gp", "ogv",
                                           "h264", "h265", "hevc", "ivf",  "mjpeg", "wmv", "asf",
                                           "m2v",  "vob",  "3g2",  "mxf",  "gif",   "webp"};
  Integrity integrity = Integrity::kStrict;
  OnError on_error = OnError::kSkip;  ///< a bad sample is skipped and counted, or ends the run
  /// With `skip`: the run ends when more than this part of the samples failed, or of their clips
  /// were lost (judged from 100 samples on and at the end of the epoch).
  double max_skip_ratio = 0.05;
  /// Conditions a sample must meet, all of them; others are left out, counted as filtered. Each is
  /// `key=GLOB`, `FIELD=TEXT`, `json.NAME=TEXT`, or one of `min_frames max_frames min_seconds
  /// max_seconds min_width min_height` with `=NUMBER`.
  std::vector<std::string> filter;
  std::uint32_t open_shards = 4;     ///< shards that give one sample each in turn
  std::uint32_t open_videos = 8;     ///< videos that give one unit each in turn
  std::uint32_t reader_threads = 2;  ///< decides nothing
  std::uint64_t member_inline_bytes = std::uint64_t{64}
                                      << 20;  ///< decides nothing; see ShardReaderOptions
  std::uint64_t max_member_bytes = std::uint64_t{64} << 30;
  /// Whether shards that have been read stay in the kernel's page cache. Decides nothing. auto:
  /// they are dropped when all of them together are more than half of what memory there is.
  PageCache page_cache = PageCache::kAuto;
  std::string spool_dir;   ///< decides nothing; empty = $TMPDIR, else /tmp
  bool allow_pipe = true;  ///< false: `pipe:` URLs are refused
  /// Where the shards' indexes are; empty = beside them. Decides nothing: with an index less is
  /// read.
  std::string index_dir;

  // Shards over the network; docs/remote.md. Decide nothing.
  std::uint32_t connections = 16;  ///< open at one time, all shards together
  std::uint32_t retries = 8;       ///< attempts after the first, as long as no bytes come
  double request_timeout = 60;     ///< seconds one request may take; what came is kept
  double stall_timeout = 15;       ///< seconds without a byte before a request or pipe is given up
  double shard_timeout = 3600;     ///< seconds to wait for a shard's bytes, all waits together
  std::vector<std::string> http_headers;  ///< "Name: value", sent to the shards' own origin only
  std::string ca_file;                    ///< certificates to trust; empty = the system's
  std::string s3_endpoint;  ///< of s3:// URLs; empty = as AWS's environment and files say
  std::string s3_region;    ///< likewise
  bool anonymous = false;   ///< s3://, gs:// and hf:// without credentials
  std::string cache_dir;    ///< folder that keeps whole remote shards; empty = none are kept
  std::uint64_t cache_bytes =
      0;                    ///< of `cache_dir`, the least recently used go first; 0 = no bound
  bool cache_only = false;  ///< read remote shards from `cache_dir` or fail; no network
};

/// Which frames make a clip. Decides the order.
struct WindowOptions {
  std::uint32_t num_frames = 16;  ///< T: frames of a clip
  std::uint32_t frame_step = 1;   ///< frames from one frame of a window to the next
  std::uint32_t window_stride =
      0;  ///< frames from one window's start to the next; 0 = num_frames * frame_step
  /// If set: sample by time; num_frames and window_stride count output frames. A video that shows
  /// one frame for more than 300 s fails as `long_frame`.
  std::optional<double> fps;
  std::uint32_t windows_per_video = 0;                 ///< 0 = all
  WindowChoice window_choice = WindowChoice::kRandom;  ///< which of them, when not all
  ShortPolicy short_policy = ShortPolicy::kDrop;  ///< a video with too few frames for one window
  std::uint32_t unit_clips =
      32;  ///< clips that are decoded together at most, where keyframes allow

  /// Return the stride in force, in frames (with `fps`: in output frames).
  [[nodiscard]] std::uint32_t stride() const {
    if (window_stride != 0) return window_stride;
    return num_frames * frame_step;
  }
};

/// What becomes of a frame. Decides the pixels. docs/pixels.md is the contract.
struct TransformOptions {
  std::uint32_t width = 224;   ///< of the output, pixels
  std::uint32_t height = 224;  ///< of the output, pixels
  /// Whether pixels that are not square are shown in the stream's sample aspect ratio, or taken as
  /// square, as stored.
  SampleAspect sample_aspect = SampleAspect::kIgnore;
  ResizeMode resize_mode = ResizeMode::kShortSide;
  CropMode crop = CropMode::kCenter;
  double crop_scale_min = 0.5, crop_scale_max = 1.0;  ///< of the area, for crop = resized
  double crop_ratio_min = 3.0 / 4.0,
         crop_ratio_max = 4.0 / 3.0;  ///< width : height, for crop = resized
  double flip = 0;                    ///< probability of a horizontal flip, drawn once a clip
  ColorMode color = ColorMode::kRgb;
  DType dtype = DType::kUint8;
  /// With a float dtype: out = (value / 255 - mean) / std, one value for all channels or one each;
  /// empty = 0 and 1.
  std::vector<double> mean, std;
  Layout layout = Layout::kThwc;
};

/// How clips become batches. Decides the order.
struct BatchOptions {
  ShuffleMode shuffle = ShuffleMode::kAll;
  std::uint32_t batch_size = 8;
  /// Unset = true, but false with shuffle = none or ranks = exact.
  std::optional<bool> drop_last;
  std::uint64_t seed = 0;
  std::uint64_t epoch = 0;   ///< the first one
  std::uint64_t epochs = 1;  ///< how many; 0 = endless
  std::optional<std::uint64_t> batches_per_epoch;
  std::optional<std::uint32_t> rank;        ///< unset = from the environment
  std::optional<std::uint32_t> world_size;  ///< unset = from the environment
  RankMode ranks = RankMode::kEqual;
  std::uint32_t prefetch_batches = 2;  ///< per lane, made ahead of the consumer; decides nothing
  std::uint32_t held_batches = 2;  ///< per lane, that the consumer keeps at a time; decides nothing

  [[nodiscard]] bool drops_last() const {
    return drop_last.value_or(shuffle != ShuffleMode::kNone && ranks != RankMode::kExact);
  }
};

/// What it may take. Decides nothing, except `shuffle_bytes`, `min_fill` and `shuffle_domain` (the
/// order).
struct ResourceOptions {
  std::string memory_bytes =
      "2GiB";  ///< of host memory for the process; also "25%" of the cgroup's limit
  std::string
      shuffle_bytes;  ///< of the shuffle buffer, all lanes together; empty = half of memory_bytes
  std::uint32_t min_fill = 100;  ///< clips in the shuffle buffer before the first one leaves
  ShuffleDomain shuffle_domain = ShuffleDomain::kFrames;
  std::uint32_t decode_threads = 0;  ///< 0 = the cores this process may use
  std::vector<std::string> devices = {
      "cpu:0"};  ///< one lane each: `cpu:N` (virtual host devices), `cuda:N`, `auto`
  DecodeDevice decode = DecodeDevice::kAuto;
  /// Most that the loader holds of each GPU's memory: bytes, or a part of the GPU's.
  std::string gpu_memory_bytes = "8%";
  /// What it leaves free of each GPU's memory for others; empty = 1 GiB, or 5 % if that is more.
  std::string gpu_memory_reserve;
};

struct LoaderOptions {
  InputOptions input;
  WindowOptions window;
  TransformOptions transform;
  BatchOptions batch;
  ResourceOptions resource;

  /// Read from a JSON object with flat names, e.g. `{"urls": ["a.tar"], "num_frames": 8}`. Unknown
  /// names and wrong types are errors; all problems are reported at once, one a line.
  static Result<LoaderOptions> from_json(std::string_view text);

  /// Write every option with its value as one JSON object.
  [[nodiscard]] std::string to_json() const;

  /// Return every problem, one sentence each that names the option and what it takes; empty = fine.
  [[nodiscard]] std::vector<std::string> validate() const;
};

/// One row of the table of options.
struct OptionInfo {
  std::string name;     ///< flat name, snake_case; the command line writes dashes
  std::string values;   ///< what it takes, for people
  std::string initial;  ///< its default, as JSON
  std::string decides;  ///< "O" the order or choice of clips, "P" the pixels, "" nothing
  std::string help;     ///< one sentence
};

/// Return all options in the order of the documentation.
[[nodiscard]] const std::vector<OptionInfo>& option_table();

/// Set one option by its flat name from text as the command line has it: lists separated by commas
/// (`urls` and `filter` append instead), enumerations by their word, sizes with units.
Result<void> set_option(LoaderOptions& options, std::string_view name, std::string_view text);

}  // namespace shardreel
