// Sessions that were let in, and those that wait for the next unit.
#include <algorithm>
#include <utility>
#include <vector>

#include "loader/decode/placement.h"

namespace shardreel {
namespace {

constexpr double kNewest = 0.25;  // weight of a session's start

}  // namespace

DeviceSession::DeviceSession(Placement& placement, SessionNeed need, GpuLease lease, bool tries,
                             std::uint64_t release)
    : placement_(&placement),
      need_(std::move(need)),
      lease_(std::move(lease)),
      tries_(tries),
      free_before_(placement.free_beside_buffers()),
      release_(release) {}

DeviceSession::DeviceSession(DeviceSession&& other) noexcept
    : placement_(std::exchange(other.placement_, nullptr)),
      need_(std::move(other.need_)),
      lease_(std::move(other.lease_)),
      decoder_(std::move(other.decoder_)),
      tries_(std::exchange(other.tries_, false)),
      is_new_(other.is_new_),
      free_before_(other.free_before_),
      release_(other.release_) {}

DeviceSession::~DeviceSession() { end(); }

/// Memory first, then its lease, then the place.
void DeviceSession::end() noexcept {
  if (placement_ == nullptr) return;
  if (std::exchange(tries_, false)) placement_->refusals_.forget(need_.kind);
  lease_.freeing();
  if (decoder_.decoder) decoder_.decoder->trim();
  decoder_ = {};
  { const GpuLease ended = std::move(lease_); }
  const MutexLock lock(placement_->mutex_);
  --placement_->active_;
  placement_ = nullptr;
}

void DeviceSession::allocated(double seconds) {
  if (!is_new_) return;
  lease_.allocated(lease_.bytes());
  const MutexLock lock(placement_->mutex_);
  auto& start = placement_->counts_.start_seconds;
  start = start ? *start + kNewest * (seconds - *start) : seconds;
}

void DeviceSession::worked(std::uint64_t made) {
  if (std::exchange(tries_, false)) placement_->refusals_.report(need_.kind, KindVerdict::kTakes);
  bool alone = false;
  {
    const MutexLock lock(placement_->mutex_);
    alone = placement_->active_ == 1;
    placement_->counts_.made += made;
    placement_->counts_.used_again += made == 0 ? 1 : 0;
    placement_->limit_.succeeded(governor_now(), std::exchange(placement_->turned_away_, false));
  }
  // Of several at a time nobody knows which took what.
  const std::uint64_t free = placement_->free_beside_buffers();
  if (is_new_ && alone && free < free_before_)
    placement_->costs_.measured(need_.kind, need_.bytes, free_before_ - free);
}

void DeviceSession::refused_kind() {
  tries_ = false;
  placement_->refusals_.report(need_.kind, KindVerdict::kRefuses);
}

void DeviceSession::differs() {
  tries_ = false;
  placement_->refusals_.report(need_.kind, KindVerdict::kDiffers);
}

void DeviceSession::out_of_memory() {
  placement_->governor_->out_of_memory(governor_now());
  const MutexLock lock(placement_->mutex_);
  placement_->limit_.refused(governor_now());
}

bool DeviceSession::make_room() {
  if (placement_->governor_->idle().give_back(lease_.bytes()) == 0) return false;
  lease_.freeing();
  if (decoder_.decoder) decoder_.decoder->trim();
  is_new_ = true;
  return true;
}

void DeviceSession::keep() {
  Placement& placement = *placement_;
  if (is_new_) lease_.allocated(lease_.bytes());  // a unit without frames said nothing
  if (placement.park(*this)) {
    placement.look();
  } else {
    end();
  }
}

bool Placement::park(DeviceSession& session) {
  const MutexLock lock(mutex_);
  if (session.release_ != releases_ || active_ > limit_.allowed()) return false;
  session.is_new_ = false;
  idle_.push_back(std::move(session));
  return true;
}

std::optional<DeviceSession> Placement::take_idle(const SessionNeed& need) {
  const MutexLock lock(mutex_);
  if (!worth_one_more()) return std::nullopt;
  // Another one of the kind would end its session and make one, too; so it waits for its like.
  const auto at = std::ranges::find_if(
      idle_, [&](const DeviceSession& idle) { return idle.need_.parameters == need.parameters; });
  if (at == idle_.end()) return std::nullopt;
  std::optional<DeviceSession> taken(std::move(*at));
  idle_.erase(at);
  taken->need_ = need;
  taken->release_ = releases_;
  return taken;
}

std::optional<std::uint64_t> Placement::take_place(std::optional<DeviceSession>& replaced) {
  const MutexLock lock(mutex_);
  if (!worth_one_more()) return std::nullopt;
  const bool room = active_ < limit_.allowed();
  if (!room && (idle_.empty() || active_ > limit_.allowed())) {
    turned_away_ = true;
    return std::nullopt;
  }
  if (!room) {
    ++counts_.given_back;
    replaced.emplace(std::move(idle_.front()));
    idle_.pop_front();
  }
  ++active_;  // one too many until the replaced one is ended
  return releases_;
}

/// Called by whoever needs memory: sessions are ended without the mutex, because that takes a
/// while.
std::uint64_t Placement::give_back(std::uint64_t bytes) {
  std::vector<DeviceSession> ended;
  std::uint64_t came = 0;
  const MutexLock lock(mutex_);
  if (bytes == IdleMemory::kAll) ++releases_;
  for (; came < bytes && !idle_.empty(); idle_.pop_front()) {
    came += idle_.front().lease_.bytes();
    ++counts_.given_back;
    ended.push_back(std::move(idle_.front()));
  }
  return came;
}

Placement::Gauges Placement::gauges() const {
  const MutexLock lock(mutex_);
  Gauges gauges = counts_;
  gauges.idle = idle_.size();
  gauges.at_work = active_ - gauges.idle;
  gauges.most_at_work = options_.split.most == 0 ? 0 : split_.allowed();
  gauges.device_seconds = split_.device_seconds();
  gauges.cpu_seconds = split_.cpu_seconds();
  for (const DeviceSession& idle : idle_) gauges.idle_bytes += idle.lease_.bytes();
  return gauges;
}

}  // namespace shardreel
