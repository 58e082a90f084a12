#include "shards/sha256.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/shards/shard_testing.h"
#include "tests/support/scratch.h"
#include "tests/support/test_shards.h"

namespace shardreel::testing {
namespace {

std::string digest_of(const std::string& text) { return sha256_of(*content_of(text)).value(); }

// The examples of FIPS 180-2, appendix B.
TEST(Sha256, GivesThePublishedDigests) {
  EXPECT_EQ(digest_of(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(digest_of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(digest_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST(Sha256, AgreesWithTheSystemsProgramHoweverTheBytesAreCut) {
  const ScratchDir scratch;
  std::mt19937_64 random(test_seed());
  std::string text(3'000'001, '\0');
  for (char& c : text) c = static_cast<char>(random());
  write_file(scratch / "file", text);
  const std::string expected = run_command("sha256sum < " + scratch / "file").substr(0, 64);
  EXPECT_EQ(digest_of(text), expected);
  Sha256 digest;
  std::span<const std::byte> rest = std::as_bytes(std::span(text));
  while (!rest.empty()) {
    const std::size_t part = std::min<std::size_t>(rest.size(), random() % 70'000);
    digest.update(rest.first(part));
    rest = rest.subspan(part);
  }
  EXPECT_EQ(digest.finish().value(), expected);
}

TEST(Sha256, KnowsItsOwnForm) {
  EXPECT_TRUE(is_sha256_hex(digest_of("abc")));
  EXPECT_FALSE(is_sha256_hex(std::string(64, 'A')));
  EXPECT_FALSE(is_sha256_hex(std::string(63, 'a')));
  EXPECT_FALSE(is_sha256_hex(std::string(64, 'g')));
}

}  // namespace
}  // namespace shardreel::testing
