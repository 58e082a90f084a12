#include "loader/media/side_filter.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace shardreel {
namespace {

/// Half the triangle's base: one sample, or the ratio when shrinking.
double radius_of(const FilterSpan& span) { return std::max(1.0, span.size / span.to); }

/// At most this many samples lie strictly within 2 * radius, and mirroring adds none.
int taps_for(double radius) { return static_cast<int>(std::ceil(2 * radius)) + 1; }

}  // namespace

bool SideFilter::takes(const FilterSpan& span) {
  return span.to > 0 && taps_for(radius_of(span)) <= kMaxTaps;
}

void SideFilter::build(const FilterSpan& span) {
  span_ = {};  // of nothing, should there be no memory
  const double ratio = span.size / span.to, radius = radius_of(span);
  const auto from = static_cast<std::int64_t>(span.from);
  const int room = static_cast<int>(std::min<std::int64_t>(taps_for(radius), from));
  taps_ = room;
  first_.assign(span.to, 0);
  weights_.assign(std::size_t{span.to} * static_cast<std::size_t>(room), 0);

  for (std::uint32_t i = 0; i < span.to; ++i) {
    const double centre = span.left + (i + 0.5) * ratio;
    const auto low = static_cast<std::int64_t>(std::ceil(centre - radius - 0.5));
    const auto high = static_cast<std::int64_t>(std::floor(centre + radius - 0.5));
    // Mirrored samples fold back onto those inside; the window is moved inside, too.
    const std::int64_t first = std::clamp<std::int64_t>(low, 0, from - room);
    std::array<double, kMaxTaps> folded{};
    double sum = 0;
    for (std::int64_t j = low; j <= high; ++j) {
      const double weight = 1 - std::fabs(static_cast<double>(j) + 0.5 - centre) / radius;
      if (weight <= 0) continue;
      const std::int64_t inside = std::clamp<std::int64_t>(j < 0       ? -1 - j
                                                           : j >= from ? 2 * from - 1 - j
                                                                       : j,
                                                           0, from - 1);
      folded[static_cast<std::size_t>(std::clamp<std::int64_t>(inside - first, 0, room - 1))] +=
          weight;
      sum += weight;
    }
    // Rounding the running sum, not each weight, makes them add up exactly.
    const std::uint32_t at = span.reversed ? span.to - 1 - i : i;
    first_[at] = static_cast<std::int32_t>(first);
    std::uint16_t* weights = weights_.data() + std::size_t{at} * static_cast<std::size_t>(room);
    double running = 0;
    long before = 0;
    for (int t = 0; t < room; ++t) {
      running += folded[static_cast<std::size_t>(t)];
      const long now = std::lround(running / sum * 65536);
      weights[t] = static_cast<std::uint16_t>(std::min(now - before, 65535L));
      before = now;
    }
  }
  const auto [lowest, highest] = std::minmax_element(first_.begin(), first_.end());
  begin_ = static_cast<std::uint32_t>(*lowest);
  end_ = static_cast<std::uint32_t>(*highest + room);
  span_ = span;
}

std::uint64_t SideFilter::bytes() const {
  return first_.capacity() * sizeof(std::int32_t) + weights_.capacity() * sizeof(std::uint16_t);
}

std::uint64_t SideFilter::bytes_bound(std::uint64_t from, std::uint64_t to) {
  // to * taps, with taps <= 2 * from / to + 4 and at most kMaxTaps.
  const std::uint64_t weights = std::min(2 * from + 4 * to, to * kMaxTaps);
  return to * sizeof(std::int32_t) + weights * sizeof(std::uint16_t);
}

}  // namespace shardreel
