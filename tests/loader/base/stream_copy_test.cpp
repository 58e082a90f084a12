#include "loader/base/stream_copy.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "tests/support/scratch.h"

namespace shardreel {
namespace {

// Whatever the alignments and the length, exactly the range is written.
TEST(StreamCopy, WritesTheRangeAndNothingElse) {
  std::mt19937_64 random(testing::test_seed());
  SCOPED_TRACE(testing::test_seed());
  for (int round = 0; round < 2000; ++round) {
    const std::size_t bytes = random() % (round % 2 == 0 ? 300 : 5000);
    const std::size_t in_at = random() % 70, out_at = random() % 70;
    std::vector<std::uint8_t> in(in_at + bytes), out(out_at + bytes + 70), expected;
    for (std::uint8_t& byte : in) byte = static_cast<std::uint8_t>(random());
    for (std::uint8_t& byte : out) byte = static_cast<std::uint8_t>(random());
    expected = out;
    for (std::size_t i = 0; i < bytes; ++i) expected[out_at + i] = in[in_at + i];
    stream_copy(out.data() + out_at, in.data() + in_at, bytes);
    ASSERT_EQ(out, expected) << bytes << " bytes from offset " << in_at << " to " << out_at;
  }
}

}  // namespace
}  // namespace shardreel
