// Somebody else takes 95 % of the GPU's memory for the second third of a run: the run ends all the
// same, with the same clips, and the counters say which way each one went.
#include "benchmarks/gpu/gpu_bench.h"
#include "benchmarks/gpu/network.h"

namespace shardreel::gpu_bench {
namespace {

constexpr double kTaken = 0.95;

/// Used part of the device's memory, everybody's.
double used_part() {
  std::size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "asking how much memory is free");
  return 1 - static_cast<double>(free) / static_cast<double>(total);
}

/// Take memory until `part` of the device is in use, in pieces that become smaller.
std::vector<OwnMemory> take_memory(double part) {
  std::size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "asking how much memory is free");
  std::vector<OwnMemory> taken;
  for (std::uint64_t piece = total / 16; piece >= total / 4096;) {
    check(cudaMemGetInfo(&free, &total), "asking how much memory is free");
    const double then = static_cast<double>(total - free + piece) / static_cast<double>(total);
    if (then > part) {
      piece /= 2;
      continue;
    }
    try {
      taken.emplace_back(piece);
    } catch (const std::runtime_error&) {  // in pieces, or the loader was faster
      static_cast<void>(cudaGetLastError());
      piece /= 2;
    }
  }
  return taken;
}

using Counts = std::map<std::string, std::uint64_t>;
Counts difference(const Counts& after, const Counts& before) {
  Counts counts;
  for (const auto& [word, count] : after) {
    const auto found = before.find(word);
    counts[word] = count - (found == before.end() ? 0 : found->second);
  }
  return counts;
}

}  // namespace

Json measure_pressure(const Settings& settings) {
  LoaderOptions options = base_options(settings);
  options.resource.decode = DecodeDevice::kCuda;
  options.resource.shuffle_bytes = "64MiB";  // few clips are decoded before their third begins
  const Run alone = feed(options, 0);

  std::vector<OwnMemory> others;
  double most_used = 0;
  Counts before, until_given_back;
  int third = 0;
  const Run pressed = feed(options, 0, [&](Loader& loader, std::uint64_t clips) {
    if (third == 0 && 3 * clips >= alone.clips) {
      before = loader.metrics().clips_by_decoder;
      others = take_memory(kTaken);
      most_used = used_part();
      third = 1;
    } else if (third == 1 && 3 * clips >= 2 * alone.clips) {
      until_given_back = loader.metrics().clips_by_decoder;
      others.clear();
      third = 2;
    }
  });
  if (third != 2) throw std::runtime_error("too few batches to take memory in the middle");
  return {{"clips", pressed.clips},
          {"memory_in_use_at_worst", most_used},
          {"same_clips_and_order", pressed.clips == alone.clips && pressed.order == alone.order},
          {"clips_from_device", pressed.clips_from_device},
          {"clips_from_device_undisturbed", alone.clips_from_device},
          {"seconds", pressed.seconds},
          {"seconds_undisturbed", alone.seconds},
          {"clips_by_decoder",
           {{"undisturbed", alone.clips_by_decoder},
            {"before", before},
            {"while_taken", difference(until_given_back, before)},
            {"afterwards", difference(pressed.clips_by_decoder, until_given_back)}}}};
}

}  // namespace shardreel::gpu_bench
