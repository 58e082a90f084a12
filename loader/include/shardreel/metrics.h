#pragma once
// What happened so far: counts, waits and bytes, as plain numbers.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <shardreel/error.h>

namespace shardreel {

/// Bytes in use under one tag: "encoded", "packets", "decode", "clip", "batch", "held", "pinned".
struct TagUse {
  std::uint64_t now = 0;
  std::uint64_t peak = 0;
};

/// A snapshot; all counts are since `Loader::open`.
/// Conservation: samples = complete + partial + skipped; clips_cut = clips + the sum of
/// clips_dropped_by_reason
/// + those still inside.
struct Metrics {
  std::uint64_t clips = 0;  ///< delivered
  std::uint64_t batches = 0;
  std::uint64_t frames = 0;          ///< delivered: clips * num_frames
  std::uint64_t frames_decoded = 0;  ///< that left a decoder
  std::uint64_t samples = 0;
  std::uint64_t samples_complete = 0;
  std::uint64_t samples_partial = 0;
  std::uint64_t samples_skipped = 0;
  std::uint64_t samples_filtered = 0;  ///< left out by `filter`; not part of `samples`
  std::uint64_t clips_cut = 0;         ///< that windows were planned for
  std::uint64_t clips_repeated = 0;    ///< delivered again to fill `batches_per_epoch`
  std::uint64_t clips_padded = 0;      ///< whose missing frames `short_policy` filled in
  std::map<std::string, std::uint64_t> skipped_by_reason;  ///< samples, by `to_string(ErrorCode)`
  std::map<std::string, std::uint64_t>
      clips_dropped_by_reason;  ///< drop_last, unequal, stopped, or an ErrorCode's word
  /// Where GPUs may decode, the clips that units were decoded for, by who did and why: device, cpu,
  /// cpu_refused_kind, cpu_no_memory, cpu_no_session, cpu_after_error, cpu_unproven.
  std::map<std::string, std::uint64_t> clips_by_decoder;
  /// The same for decoder sessions: made; used_again: units that took none; given_back: idle ones
  /// whose memory was wanted elsewhere; at_work and idle, now; most_at_work: as many as are worth
  /// having (decode = auto).
  std::map<std::string, std::uint64_t> gpu_sessions;
  /// What they cost, in seconds: cpu_megapixel and gpu_megapixel of a thread's time, session_start
  /// until the first frame. With several GPUs the dearest one's.
  std::map<std::string, double> decode_costs;
  std::uint64_t clips_from_device = 0;  ///< put into batches without ever leaving their GPU
  std::uint64_t shuffle_clips = 0, peak_shuffle_clips = 0;  ///< waiting in both tiers of all lanes
  std::uint64_t shards_opened = 0;
  std::uint64_t shards_failed = 0;
  std::uint64_t bytes_read = 0;

  // Over the network.
  std::uint64_t remote_requests = 0;
  std::uint64_t remote_retries = 0;    ///< attempts after a failed one
  std::uint64_t remote_redirects = 0;  ///< followed
  std::uint64_t remote_bytes = 0;      ///< of bodies
  std::uint64_t cache_hits = 0;        ///< remote shards read from `cache_dir`
  std::uint64_t cache_misses = 0;      ///< that were not there, or no longer good
  std::uint64_t cache_stored = 0;      ///< bytes of shards that were put there
  std::uint64_t cache_evicted = 0;     ///< bytes of shards that were removed from there

  double seconds = 0;                ///< since open
  double first_batch_seconds = 0;    ///< from open to the first batch; 0 before
  double consumer_wait_seconds = 0;  ///< that `next` waited, all lanes together
  double read_wait_seconds = 0;      ///< that the demux step waited for a sample
  double demux_seconds = 0;          ///< opening, scanning and cutting videos
  double decode_seconds = 0;         ///< of decode threads at work (decode + transform)
  double decode_idle_seconds = 0;    ///< of decode threads without a unit
  double batch_wait_seconds = 0;     ///< that lanes waited for a free batch: the consumer is slower

  std::map<std::string, TagUse> ledger;             ///< by tag
  std::uint64_t ledger_peak_bytes = 0;              ///< of all tags together, at one moment
  std::uint64_t pss_bytes = 0, peak_pss_bytes = 0;  ///< what the kernel says (sampled every second)
  /// The peak is the kernel's own high-water mark since the program began, with files' pages.
  std::uint64_t rss_bytes = 0, peak_rss_bytes = 0;
  /// Of the resident memory what no file backs, which is what the ledger counts; other processes
  /// that begin and end do not change it. `baseline`: after open, with nothing in flight. The peak
  /// is the greatest sample, or what the high-water mark says that it was in between.
  std::uint64_t baseline_anonymous_bytes = 0, peak_anonymous_bytes = 0;

  std::vector<Error> first_failures;  ///< the first 100, in sequence, lane by lane
  std::string verdict;                ///< one sentence that names the slowest stage
};

}  // namespace shardreel
