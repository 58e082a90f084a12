#include <algorithm>
#include <cmath>

#include "loader/media/strip_kernels.h"

namespace shardreel {

IntegerMap integer_map(const AffineMap& map, const std::array<int, 3>& depth) {
  IntegerMap integers;
  integers.inputs = map.inputs;
  integers.outputs = map.outputs;
  for (std::size_t o = 0; o < static_cast<std::size_t>(map.outputs); ++o) {
    // What the map gives in the middle of the range, where centred samples are 0.
    double middle = map.offset[o];
    double products = 0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(map.inputs); ++i) {
      middle += map.factor[o][i] * std::ldexp(1, depth[i] - 1);
      // Per 1/65536 of full scale, times 2^16 for the multiply-high, times 32 for the sum's unit.
      const double factor = std::round(std::ldexp(map.factor[o][i], depth[i] - 16 + 16 + 5));
      integers.factor[o][i] = static_cast<std::int16_t>(std::clamp(factor, -32768.0, 32767.0));
      if (integers.factor[o][i] != 0) ++products;
    }
    // Half a step so that the shift rounds half up; half a unit for each product, because the
    // multiply-high rounds down.
    const double offset = std::round(32 * middle + 16 + products / 2);
    integers.offset[o] = static_cast<std::int16_t>(std::clamp(offset, -32768.0, 32767.0));
  }
  return integers;
}

}  // namespace shardreel
