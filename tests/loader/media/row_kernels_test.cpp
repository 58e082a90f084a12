#include "loader/media/row_kernels.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "tests/support/scratch.h"

namespace shardreel {
namespace {

// The machine's best kernel and the portable one: identical bytes for any map and width, nothing
// written beyond the row.
TEST(RowKernels, EveryInstructionSetGivesTheSameBytes) {
  std::mt19937_64 random(testing::test_seed());
  const auto number = [&](double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random);
  };
  for (std::uint64_t round = testing::rounds(40'000); round > 0; --round) {
    AffineMap map;
    map.inputs = random() % 2 == 0 ? 1 : 3;
    map.outputs = random() % 2 == 0 ? 1 : 3;
    for (auto& row : map.factor) {
      for (double& factor : row) factor = number(-2.3, 2.3);
    }
    for (double& offset : map.offset) offset = number(-300, 300);
    const IntegerMap integers = integer_map(map, {8, 8, 8});
    const std::size_t width = random() % 200;
    std::vector<std::vector<std::uint16_t>> samples(3, std::vector<std::uint16_t>(width));
    for (auto& row : samples) {
      for (auto& sample : row) sample = static_cast<std::uint16_t>(random());
    }
    const SampleRows rows{samples[0].data(), samples[1].data(), samples[2].data()};
    const std::size_t bytes = width * static_cast<std::size_t>(map.outputs);
    std::vector<std::uint8_t> best(bytes + 64, 0xa5), portable(bytes + 64, 0xa5);
    row_kernel(integers)(rows, width, integers, best.data());
    portable_row_kernel(integers)(rows, width, integers, portable.data());
    ASSERT_EQ(best, portable) << "width " << width;
    for (std::size_t i = bytes; i < best.size(); ++i) ASSERT_EQ(best[i], 0xa5);
  }
}

// Integers against the map in double precision: less than a tenth of a step off before rounding.
TEST(RowKernels, AgreeWithTheMap) {
  std::mt19937_64 random(testing::test_seed());
  AffineMap map;  // BT.709, limited range
  map.factor = {{{1.1644, 0, 1.7927}, {1.1644, -0.2132, -0.5329}, {1.1644, 2.1124, 0}}};
  map.offset = {-248.1, 76.9, -289.0};
  const IntegerMap integers = integer_map(map, {8, 8, 8});
  for (std::uint64_t round = testing::rounds(400'000); round > 0; --round) {
    std::array<std::uint16_t, 3> sample{};
    for (auto& s : sample) s = static_cast<std::uint16_t>(random());
    std::array<std::uint8_t, 3> got{};
    row_kernel(integers)({sample.data(), sample.data() + 1, sample.data() + 2}, 1, integers,
                         got.data());
    for (std::size_t o = 0; o < 3; ++o) {
      double want = map.offset[o];
      for (std::size_t i = 0; i < 3; ++i) want += map.factor[o][i] * sample[i] / 256;
      ASSERT_NEAR(got[o], std::clamp(want, 0.0, 255.0), 0.6);
    }
  }
}

}  // namespace
}  // namespace shardreel
