#include "loader/decode/placement.h"

#include <utility>

namespace shardreel {

std::string_view to_string(DecodePath path) noexcept {
  switch (path) {
    case DecodePath::kCpu: return "cpu";
    case DecodePath::kDevice: return "device";
    case DecodePath::kCpuRefusedKind: return "cpu_refused_kind";
    case DecodePath::kCpuNoMemory: return "cpu_no_memory";
    case DecodePath::kCpuNoSession: return "cpu_no_session";
    case DecodePath::kCpuAfterError: return "cpu_after_error";
    case DecodePath::kCpuUnproven: return "cpu_unproven";
  }
  return "cpu";
}

Placement::Placement(std::shared_ptr<Device> device, std::shared_ptr<Governor> governor,
                     const PlacementOptions& options)
    : device_(std::move(device)),
      governor_(std::move(governor)),
      options_(options),
      limit_(options.sessions),
      split_(options.split),
      holder_(governor_->idle().add([this](std::uint64_t bytes) { return give_back(bytes); })) {}

std::uint64_t Placement::free_beside_buffers() const {
  const auto memory = device_->memory();
  return memory ? memory->free_bytes + device_->allocated_bytes() : 0;
}

void Placement::decoded(const UnitDone& unit) {
  const MutexLock lock(mutex_);
  split_.decoded(governor_now(), unit);
}

void Placement::look() {
  const GovernorTime now = governor_now();
  {
    const MutexLock lock(mutex_);
    if (read_ && now - *read_ < options_.reading_every) return;
    read_ = now;
  }
  if (const auto memory = device_->memory()) governor_->reading(now, memory->free_bytes);
  governor_->shed(now);
}

Admission Placement::admit(const StreamParameters& parameters) {
  auto need = session_need(parameters);
  if (!need) return {std::nullopt, DecodePath::kCpu};
  const KindVerdict known = refusals_.ask(need->kind);
  if (known == KindVerdict::kBeingTried) return {std::nullopt, DecodePath::kCpuNoSession};
  if (known == KindVerdict::kRefuses) return {std::nullopt, DecodePath::kCpuRefusedKind};
  if (known == KindVerdict::kDiffers) return {std::nullopt, DecodePath::kCpuUnproven};
  look();
  if (auto kept = take_idle(*need)) return {std::move(kept), DecodePath::kDevice};
  const bool tries = known == KindVerdict::kTry;
  std::optional<DeviceSession> replaced;
  const auto release = take_place(replaced);
  if (!release) {
    if (tries) refusals_.forget(need->kind);
    return {std::nullopt, DecodePath::kCpuNoSession};
  }
  replaced.reset();
  auto lease = governor_->try_reserve(governor_now(), costs_.estimate(need->kind, need->bytes));
  if (!lease) {
    if (tries) refusals_.forget(need->kind);
    const MutexLock lock(mutex_);
    --active_;
    return {std::nullopt, DecodePath::kCpuNoMemory};
  }
  return {DeviceSession(*this, std::move(*need), std::move(*lease), tries, *release),
          DecodePath::kDevice};
}

}  // namespace shardreel
