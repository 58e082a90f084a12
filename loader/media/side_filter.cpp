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
  const auto room = static_cast<std::size_t>(std::min<std::int64_t>(taps_for(radius), span.from));
  first_.assign(span.to, 0);
  weights_.assign(span.to * room, 0);

  std::size_t most = 1;  // taps that an output needs
  for (std::uint32_t i = 0; i < span.to; ++i) {
    const double centre = span.left + (i + 0.5) * ratio;
    const auto low = static_cast<std::int64_t>(std::ceil(centre - radius - 0.5));
    const auto high = static_cast<std::int64_t>(std::floor(centre + radius - 0.5));
    // Mirrored samples fold back onto those inside; the window is moved inside, too.
    const auto first = std::clamp<std::int64_t>(low, 0, from - static_cast<std::int64_t>(room));
    std::array<double, kMaxTaps> folded{};
    double sum = 0;
    for (std::int64_t j = low; j <= high; ++j) {
      const double weight = 1 - std::fabs(static_cast<double>(j) + 0.5 - centre) / radius;
      if (weight <= 0) continue;
      const std::int64_t inside =
          std::clamp<std::int64_t>(j < 0       ? -1 - j
                                   : j >= from ? 2 * from - 1 - j
                                               : j,
                                   first, first + static_cast<std::int64_t>(room) - 1);
      folded[static_cast<std::size_t>(inside - first)] += weight;
      sum += weight;
    }
    // Rounding the running sum, not each weight, makes them add up exactly.
    const std::size_t at = span.reversed ? span.to - 1 - i : i;
    std::uint16_t* weights = weights_.data() + at * room;
    double running = 0;
    long before = 0;
    for (std::size_t t = 0; t < room; ++t) {
      running += folded[t];
      const long now = std::lround(running / sum * 65536);
      weights[t] = static_cast<std::uint16_t>(std::min(now - before, 65535L));
      before = now;
    }
    std::size_t lead = 0, used = room;
    while (lead + 1 < room && weights[lead] == 0) ++lead;
    while (used > lead + 1 && weights[used - 1] == 0) --used;
    first_[at] = static_cast<std::int32_t>(first);
    most = std::max(most, used - lead);
  }
  pack(room, most);
  const auto [lowest, highest] = std::minmax_element(first_.begin(), first_.end());
  begin_ = static_cast<std::uint32_t>(*lowest);
  end_ = static_cast<std::uint32_t>(*highest + taps_);
  span_ = span;
}

void SideFilter::pack(std::size_t room, std::size_t taps) {
  for (std::size_t i = 0; i < first_.size(); ++i) {
    const std::uint16_t* from = weights_.data() + i * room;
    std::size_t lead = 0;
    while (lead < room - taps && from[lead] == 0) ++lead;
    std::copy(from + lead, from + lead + taps, weights_.data() + i * taps);
    first_[i] += static_cast<std::int32_t>(lead);
  }
  taps_ = static_cast<int>(taps);
  const std::size_t all = first_.size() * taps;
  doubled_weights_.assign(all, 0);
  std::transform(weights_.data(), weights_.data() + all, doubled_weights_.data(),
                 [](std::uint32_t weight) { return weight << 16 | weight; });
}

std::uint64_t SideFilter::bytes() const {
  return first_.capacity() * sizeof(std::int32_t) + weights_.capacity() * sizeof(std::uint16_t) +
         doubled_weights_.capacity() * sizeof(std::uint32_t);
}

std::uint64_t SideFilter::bytes_bound(std::uint64_t from, std::uint64_t to) {
  // to * taps, with taps <= 2 * from / to + 4 and at most kMaxTaps.
  const std::uint64_t weights = std::min(2 * from + 4 * to, to * kMaxTaps);
  return to * sizeof(std::int32_t) + weights * (sizeof(std::uint16_t) + sizeof(std::uint32_t));
}

}  // namespace shardreel
