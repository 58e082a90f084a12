#include "loader/decode/pixel_proof.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "loader/media/av_handles.h"

namespace shardreel {
namespace {

constexpr std::size_t kFrames = 8;
// The contract's bounds.
constexpr int kMostLevels = 6, kUsualLevels = 2;
constexpr double kUsualPart = 0.999, kLeastPsnr = 46;

}  // namespace

PixelProof::PixelProof(FrameConverter& converter, const TransformOptions& options)
    : converter_(converter), options_(options) {
  // Nothing of the picture is left out.
  options_.crop = CropMode::kCenter;
  options_.resize_mode = ResizeMode::kStretch;
}

void PixelProof::begin(const StreamParameters& parameters) {
  orientation_ = {parameters.quarter_turns, parameters.mirror};
  of_device_.clear();
  frames_ = 0;
  bytes_ = squares_ = beyond_usual_ = 0;
  most_ = 0;
  missing_.reset();
}

Result<void> PixelProof::convert(const AVFrame& frame, std::vector<std::byte>& slot) {
  const FrameGeometry geometry =
      frame_geometry(static_cast<std::uint32_t>(frame.width),
                     static_cast<std::uint32_t>(frame.height), orientation_, options_, {});
  slot.resize(slot_bytes(options_));
  return converter_.convert(frame, geometry, slot);
}

Result<void> PixelProof::device_frame(const AVFrame& frame, const WantedFrame& wanted) {
  const auto known = of_device_.find(wanted.frame);
  if (known == of_device_.end() && frames_ == kFrames) return {};
  if (known == of_device_.end()) ++frames_;
  return convert(frame, of_device_[wanted.frame]);
}

Result<void> PixelProof::cpu_frame(const AVFrame& frame, const WantedFrame& wanted) {
  const auto there = of_device_.find(wanted.frame);
  if (there == of_device_.end()) {
    if (frames_ < kFrames && !missing_)
      missing_ = fmt::format("frame {} did not come", wanted.frame);
    return {};
  }
  std::vector<std::byte> here;
  if (auto done = convert(frame, here); !done) return done;
  for (std::size_t i = 0; i < here.size(); ++i) {
    const int apart =
        std::abs(std::to_integer<int>(here[i]) - std::to_integer<int>(there->second[i]));
    squares_ += static_cast<std::uint64_t>(apart) * static_cast<std::uint64_t>(apart);
    beyond_usual_ += apart > kUsualLevels ? 1 : 0;
    most_ = std::max(most_, apart);
  }
  bytes_ += here.size();
  of_device_.erase(there);
  return {};
}

std::optional<std::string> PixelProof::difference() const {
  if (missing_) return missing_;
  if (!of_device_.empty())
    return fmt::format("frame {} is not the CPU's", of_device_.begin()->first);
  if (bytes_ == 0) return "no frames came";
  const double all = static_cast<double>(bytes_);
  const double psnr = squares_ == 0
                          ? HUGE_VAL
                          : 10 * std::log10(255.0 * 255.0 * all / static_cast<double>(squares_));
  const double beyond = static_cast<double>(beyond_usual_) / all;
  if (most_ <= kMostLevels && beyond <= 1 - kUsualPart && psnr >= kLeastPsnr) return std::nullopt;
  return fmt::format(
      "its pictures are up to {} levels from the CPU's, {:.2f} % of the samples by more than {} "
      "({:.1f} dB)",
      most_, 100 * beyond, kUsualLevels, psnr);
}

}  // namespace shardreel
