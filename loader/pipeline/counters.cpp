#include "loader/pipeline/counters.h"

#include <string_view>

namespace shardreel {
namespace {

constexpr std::size_t kMostFailures = 100;
constexpr std::array<std::string_view, kDropReasons> kDropNames{"drop_last", "unequal", "stopped"};

}  // namespace

void Counters::note(const Error& failure) {
  const MutexLock lock(mutex_);
  if (first_failures_.size() < kMostFailures) first_failures_.push_back(failure);
}

void Counters::enter_shuffle(std::uint64_t clips_entered) {
  const std::uint64_t now = shuffle_clips += clips_entered;
  for (std::uint64_t peak = peak_shuffle_clips; now > peak;) {
    if (peak_shuffle_clips.compare_exchange_weak(peak, now)) break;
  }
}

void Counters::write_to(Metrics& metrics) const {
  metrics.clips = clips;
  metrics.batches = batches;
  metrics.frames = frames;
  metrics.frames_decoded = frames_decoded;
  metrics.samples_complete = samples_complete;
  metrics.samples_partial = samples_partial;
  metrics.samples_skipped = samples_skipped;
  metrics.samples_filtered = samples_filtered;
  metrics.samples = metrics.samples_complete + metrics.samples_partial + metrics.samples_skipped;
  metrics.clips_cut = clips_cut;
  metrics.clips_repeated = clips_repeated;
  metrics.clips_padded = clips_padded;
  metrics.clips_from_device = clips_from_device;
  metrics.shuffle_clips = shuffle_clips;
  metrics.peak_shuffle_clips = peak_shuffle_clips;
  metrics.shards_failed = shards_failed;
  metrics.bytes_read = bytes_read;
  for (std::size_t i = 0; i < kErrorCodes; ++i) {
    const std::string name(to_string(static_cast<ErrorCode>(i)));
    if (skipped[i] > 0) metrics.skipped_by_reason[name] = skipped[i];
    if (lost[i] > 0) metrics.clips_dropped_by_reason[name] = lost[i];
  }
  for (std::size_t i = 0; i < kDropReasons; ++i) {
    if (dropped[i] > 0) metrics.clips_dropped_by_reason[std::string(kDropNames[i])] = dropped[i];
  }
  for (std::size_t i = 0; i < kDecodePaths; ++i) {
    const std::string name(to_string(static_cast<DecodePath>(i)));
    if (decoded_by[i] > 0) metrics.clips_by_decoder[name] = decoded_by[i];
  }
  metrics.consumer_wait_seconds = consumer_wait.seconds();
  metrics.read_wait_seconds = read_wait.seconds();
  metrics.demux_seconds = demux.seconds();
  metrics.decode_seconds = decode.seconds();
  metrics.decode_idle_seconds = decode_idle.seconds();
  metrics.batch_wait_seconds = batch_wait.seconds();
  const MutexLock lock(mutex_);
  metrics.first_failures = first_failures_;
}

}  // namespace shardreel
