#include "loader/decode/placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

extern "C" {
#include <libavutil/pixdesc.h>
}

namespace shardreel {
namespace {

// Surfaces that libavcodec's CUDA decoders add to the pictures a codec refers to, and what a
// session takes besides surfaces (docs/gpu.md).
constexpr std::uint64_t kMoreSurfaces = 5;
constexpr std::uint64_t kSessionBytes = std::uint64_t{64} << 20;

/// Pictures that a decoder keeps for reference and reordering; nothing where no device decodes it.
std::optional<std::uint64_t> reference_pictures(const AVCodecParameters& codec) {
  switch (codec.codec_id) {
    case AV_CODEC_ID_H264:
    case AV_CODEC_ID_HEVC: return 16;
    case AV_CODEC_ID_VP9: return 8;
    case AV_CODEC_ID_VP8:
    case AV_CODEC_ID_MPEG1VIDEO:
    case AV_CODEC_ID_MPEG2VIDEO:
    case AV_CODEC_ID_MPEG4:
    case AV_CODEC_ID_VC1: return 3;
    // FFmpeg 5.1's own AV1 decoder has no software path to fall back to, and dav1d no hwaccel.
    default: return std::nullopt;
  }
}

std::uint64_t aligned(int side) { return (static_cast<std::uint64_t>(side) + 15) / 16 * 16; }

}  // namespace

std::string_view to_string(DecodePath path) noexcept {
  switch (path) {
    case DecodePath::kCpu: return "cpu";
    case DecodePath::kDevice: return "device";
    case DecodePath::kCpuRefusedKind: return "cpu_refused_kind";
    case DecodePath::kCpuNoMemory: return "cpu_no_memory";
    case DecodePath::kCpuNoSession: return "cpu_no_session";
    case DecodePath::kCpuAfterError: return "cpu_after_error";
  }
  return "cpu";
}

std::optional<SessionNeed> session_need(const StreamParameters& parameters) {
  const AVCodecParameters& codec = *parameters.codec;
  const auto pictures = reference_pictures(codec);
  if (!pictures || codec.width <= 0 || codec.height <= 0) return std::nullopt;
  const auto format = static_cast<AVPixelFormat>(codec.format);
  const AVPixFmtDescriptor* descriptor = av_pix_fmt_desc_get(format);
  const bool deep = descriptor != nullptr && descriptor->comp[0].depth > 8;
  const char* name = av_get_pix_fmt_name(format);
  SessionNeed need;
  need.kind =
      fmt::format("{} profile {} {} {}x{}", avcodec_get_name(codec.codec_id), codec.profile,
                  name != nullptr ? name : "unknown", aligned(codec.width), aligned(codec.height));
  // As many surfaces to decode into as to read from, of 1.5 samples a pixel.
  const std::uint64_t surface =
      aligned(codec.width) * aligned(codec.height) * 3 / 2 * (deep ? 2 : 1);
  need.bytes = 2 * (*pictures + kMoreSurfaces) * surface + kSessionBytes;
  return need;
}

DeviceSession::DeviceSession(Placement& placement, SessionNeed need, GpuLease lease, bool tries)
    : placement_(&placement),
      need_(std::move(need)),
      lease_(std::move(lease)),
      tries_(tries),
      free_before_(placement.free_bytes()) {}

DeviceSession::DeviceSession(DeviceSession&& other) noexcept
    : placement_(std::exchange(other.placement_, nullptr)),
      need_(std::move(other.need_)),
      lease_(std::move(other.lease_)),
      tries_(std::exchange(other.tries_, false)),
      free_before_(other.free_before_) {}

DeviceSession::~DeviceSession() {
  if (placement_ == nullptr) return;
  if (tries_) placement_->refusals_.forget(need_.kind);
  const MutexLock lock(placement_->mutex_);
  --placement_->active_;
}

void DeviceSession::allocated() { lease_.allocated(lease_.bytes()); }
void DeviceSession::freeing() { lease_.freeing(); }

void DeviceSession::worked() {
  if (std::exchange(tries_, false)) placement_->refusals_.report(need_.kind, true);
  bool alone = false;
  {
    const MutexLock lock(placement_->mutex_);
    alone = placement_->active_ == 1;
    placement_->limit_.succeeded(governor_now(), std::exchange(placement_->turned_away_, false));
  }
  // Of several at a time nobody knows which took what.
  const std::uint64_t free = placement_->free_bytes();
  if (alone && free < free_before_)
    placement_->costs_.measured(need_.kind, need_.bytes, free_before_ - free);
}

void DeviceSession::refused_kind() {
  tries_ = false;
  placement_->refusals_.report(need_.kind, false);
}

void DeviceSession::out_of_memory() {
  placement_->governor_->out_of_memory(governor_now());
  const MutexLock lock(placement_->mutex_);
  placement_->limit_.refused(governor_now());
}

Placement::Placement(std::shared_ptr<Device> device, std::shared_ptr<Governor> governor,
                     const PlacementOptions& options)
    : device_(std::move(device)),
      governor_(std::move(governor)),
      options_(options),
      limit_(options.sessions) {}

std::uint64_t Placement::free_bytes() const {
  const auto memory = device_->memory();
  return memory ? memory->free_bytes : 0;
}

void Placement::take_reading() {
  const GovernorTime at = governor_now();
  {
    const MutexLock lock(mutex_);
    if (read_ && at - *read_ < options_.reading_every) return;
    read_ = at;
  }
  if (const auto memory = device_->memory()) governor_->reading(at, memory->free_bytes);
}

bool Placement::take_session() {
  const MutexLock lock(mutex_);
  if (active_ >= limit_.allowed()) {
    turned_away_ = true;
    return false;
  }
  ++active_;
  return true;
}

Admission Placement::admit(const StreamParameters& parameters) {
  auto need = session_need(parameters);
  if (!need) return {std::nullopt, DecodePath::kCpu};
  const KindVerdict known = refusals_.ask(need->kind);
  if (known == KindVerdict::kBeingTried) return {std::nullopt, DecodePath::kCpuNoSession};
  if (known == KindVerdict::kRefuses) return {std::nullopt, DecodePath::kCpuRefusedKind};
  const bool tries = known == KindVerdict::kTry;
  if (!take_session()) {
    if (tries) refusals_.forget(need->kind);
    return {std::nullopt, DecodePath::kCpuNoSession};
  }
  take_reading();
  auto lease = governor_->try_reserve(governor_now(), costs_.estimate(need->kind, need->bytes));
  if (!lease) {
    if (tries) refusals_.forget(need->kind);
    const MutexLock lock(mutex_);
    --active_;
    return {std::nullopt, DecodePath::kCpuNoMemory};
  }
  return {DeviceSession(*this, std::move(*need), std::move(*lease), tries), DecodePath::kDevice};
}

}  // namespace shardreel
