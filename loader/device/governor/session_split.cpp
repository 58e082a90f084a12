#include "loader/device/governor/session_split.h"

#include <algorithm>
#include <limits>

namespace shardreel {
namespace {

constexpr std::uint32_t kAttempts = 4;
constexpr double kNewest = 0.1;  // weight of a unit's cost
constexpr double kHopeless = 0.7;
constexpr double kTimesLost = 40;

double seconds_of(GovernorTime time) { return std::chrono::duration<double>(time).count(); }

}  // namespace

SessionSplit::SessionSplit(const SessionSplitOptions& options)
    : options_(options),
      allowed_(options.most == 0 ? std::numeric_limits<std::uint32_t>::max() : options.most),
      kept_(allowed_),
      rest_(options.rest) {}

/// Far steps first: half and double, then the neighbours.
std::uint32_t SessionSplit::other() const {
  const std::uint32_t most = std::max(options_.most, 1U);
  switch (attempt_ % kAttempts) {
    case 0: return std::max(kept_ / 2, 1U);
    case 1: return std::min(kept_ * 2, most);
    case 2: return std::max(kept_ - 1, 1U);
    default: return std::min(kept_ + 1, most);
  }
}

/// With fewer sessions the device is no faster, and the CPU gets the threads; with more, each is no
/// faster, and the CPU loses them. That bounds what can be gained.
bool SessionSplit::could_gain() const {
  if (other() == kept_) return false;
  if (!cost_[0] || !cost_[1]) return true;
  const double threads = static_cast<double>(other()) - static_cast<double>(kept_);
  const double most =
      threads < 0 ? -threads / *cost_[0] : threads * (1 / *cost_[1] - 1 / *cost_[0]);
  return most >= before_ * (options_.gain - 1);
}

GovernorTime SessionSplit::slow_unit() const {
  return std::chrono::duration_cast<GovernorTime>(
      std::chrono::duration<double>(std::max(spent_[0], spent_[1])));
}

void SessionSplit::begin(GovernorTime now, Phase phase, std::uint32_t allowed) {
  phase_ = phase;
  allowed_ = allowed;
  began_ = now;
  counting_ = false;
  megapixels_ = 0;
  units_ = 0;
}

void SessionSplit::decoded(GovernorTime now, const UnitDone& unit) {
  if (unit.megapixels <= 0) return;
  auto& cost = cost_[unit.on_device ? 1 : 0];
  const double this_one = unit.seconds / unit.megapixels;
  cost = cost ? *cost + kNewest * (this_one - *cost) : this_one;
  auto& spent = spent_[unit.on_device ? 1 : 0];
  spent += kNewest * (unit.seconds - spent);
  if (options_.most <= 1) return;
  if (!began_) began_ = now;
  if (phase_ == Phase::kRest) {
    if (now - *began_ >= rest_) begin(now, Phase::kBefore, kept_);
    return;
  }
  megapixels_ += unit.megapixels;
  ++units_;
  // A number that is much worse is not borne to the end, but for as long as it took to see what
  // there was before.
  const GovernorTime since = now - *began_;
  if (phase_ == Phase::kOther && since >= before_took_ &&
      megapixels_ < kHopeless * before_ * seconds_of(since)) {
    of_other_ = megapixels_ / seconds_of(since);
    return rest(now, false);
  }
  // What was begun with the number before is not counted, nor the room in the line that it left: as
  // long as slow units take, and a unit for each thread.
  const GovernorTime slow = slow_unit();
  if (!counting_) {
    if (since < std::max(options_.period / 4, 2 * slow) || units_ < options_.most) return;
    counting_ = true;
    counted_from_ = now;
    megapixels_ = 0;
    units_ = 0;
    return;
  }
  if (now - counted_from_ < std::max(options_.period, 4 * slow) || units_ < options_.units) return;
  next_phase(now, megapixels_ / seconds_of(now - counted_from_));
}

void SessionSplit::next_phase(GovernorTime now, double rate) {
  switch (phase_) {
    case Phase::kRest: return;
    case Phase::kBefore: {
      before_ = rate;
      before_took_ = now - *began_;
      std::uint32_t asked = 0;
      for (; asked < kAttempts && !could_gain(); ++asked) ++attempt_;
      if (asked == kAttempts) return begin(now, Phase::kRest, kept_);
      ++trials_;
      return begin(now, Phase::kOther, other());
    }
    case Phase::kOther:
      of_other_ = rate;
      // Worse than before: there is nothing to ask again.
      if (of_other_ < before_ * options_.gain) return rest(now, false);
      return begin(now, Phase::kAfter, kept_);
    case Phase::kAfter: return rest(now, of_other_ >= rate * options_.gain);
  }
}

void SessionSplit::rest(GovernorTime now, bool won) {
  if (won) {
    kept_ = other();
    rest_ = options_.rest;  // where one step was right the next may be, too
  } else {
    ++attempt_;
    // What the trial lost is a fortieth of the time until the next one, at most.
    const double lost = std::max(0.0, 1 - of_other_ / before_) * seconds_of(now - *began_);
    const auto paid =
        std::chrono::duration_cast<GovernorTime>(std::chrono::duration<double>(kTimesLost * lost));
    rest_ = std::max(std::min(2 * rest_, options_.longest_rest), paid);
  }
  begin(now, Phase::kRest, kept_);
}

}  // namespace shardreel
