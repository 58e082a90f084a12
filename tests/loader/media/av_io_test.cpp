// FFmpeg's reading and seeking over our bytes, and its errors as ours.

#include "loader/media/av_io.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>

#include "loader/media/av_error.h"
#include "loader/media/av_handles.h"
#include "tests/support/scratch.h"

namespace shardreel {
namespace {

class Bytes final : public RandomAccess {
 public:
  Bytes(std::string bytes, std::uint64_t fails_from)
      : bytes_(std::move(bytes)), fails_from_(fails_from) {}
  [[nodiscard]] std::uint64_t size() const noexcept override { return bytes_.size(); }
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into) const override {
    if (offset + into.size() > fails_from_)
      return Error{.code = ErrorCode::kIo, .message = "bad sector"};
    if (offset >= bytes_.size()) return std::size_t{0};
    const auto count = std::min<std::size_t>(into.size(), bytes_.size() - offset);
    std::memcpy(into.data(), bytes_.data() + offset, count);
    return count;
  }

 private:
  std::string bytes_;
  std::uint64_t fails_from_;
};

std::string pattern(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>((i * 2654435761u) >> 13);
  return bytes;
}

TEST(AvIo, ReadsAndSeeksAnywhere) {
  const std::string bytes = pattern(300000);
  auto io = AvIo::make(std::make_shared<Bytes>(bytes, UINT64_MAX));
  ASSERT_TRUE(io);
  AVIOContext* context = io->context();
  EXPECT_EQ(avio_size(context), 300000);
  std::mt19937_64 random(testing::test_seed());
  for (int round = 0; round < 500; ++round) {
    const auto at = static_cast<std::int64_t>(random() % 300000);
    ASSERT_EQ(avio_seek(context, at, SEEK_SET), at);
    std::string got(random() % 100000, '\0');
    const int count = avio_read(context, reinterpret_cast<unsigned char*>(got.data()),
                                static_cast<int>(got.size()));
    const std::string expected = bytes.substr(static_cast<std::size_t>(at), got.size());
    ASSERT_EQ(static_cast<std::size_t>(count), expected.size());
    EXPECT_EQ(got.substr(0, expected.size()), expected);
  }
  EXPECT_FALSE(io->error());
  EXPECT_LT(avio_seek(context, -5, SEEK_SET), 0);
}

TEST(AvIo, KeepsTheSourcesErrorAndMoves) {
  auto made = AvIo::make(std::make_shared<Bytes>(pattern(300000), 100000));
  ASSERT_TRUE(made);
  AvIo io = std::move(*made);
  std::string got(290000, '\0');
  avio_read(io.context(), reinterpret_cast<unsigned char*>(got.data()),
            static_cast<int>(got.size()));
  ASSERT_TRUE(io.error());
  EXPECT_EQ(io.error()->message, "bad sector");
}

TEST(AvError, KeepsNumberTextAndTheFirstMessage) {
  silence_av_log();
  const Error error = av_failure(ErrorCode::kNotMedia, "open a thing", AVERROR_INVALIDDATA);
  EXPECT_EQ(error.code, ErrorCode::kNotMedia);
  EXPECT_NE(error.message.find("open a thing: Invalid data"), std::string::npos);
  EXPECT_NE(error.message.find(std::to_string(AVERROR_INVALIDDATA)), std::string::npos);
  EXPECT_EQ(av_failure(ErrorCode::kNotMedia, "x", AVERROR(ENOMEM)).code, ErrorCode::kMemory);
  const AvMessage outer;
  {
    const AvMessage inner;
    av_log(nullptr, AV_LOG_WARNING, "not this\n");
    av_log(nullptr, AV_LOG_ERROR, "box %d is odd\n", 7);
    av_log(nullptr, AV_LOG_ERROR, "second\n");
    EXPECT_EQ(inner.text(), "box 7 is odd");
    EXPECT_NE(inner.explain(error).message.find("box 7 is odd"), std::string::npos);
  }
  EXPECT_TRUE(outer.text().empty());
  av_log(nullptr, AV_LOG_ERROR, "for the outer one\n");
  EXPECT_EQ(outer.text(), "for the outer one");
}

}  // namespace
}  // namespace shardreel
