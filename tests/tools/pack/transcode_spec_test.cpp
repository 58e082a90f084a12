#include "tools/pack/transcode_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shardreel::tools {
namespace {

std::string complaint(const std::string& text) {
  const auto spec = parse_transcode_spec(text);
  if (spec) return "accepted as " + to_string(*spec);
  EXPECT_EQ(spec.error().code, ErrorCode::kInvalidOption);
  return spec.error().message;
}

TEST(TranscodeSpec, EveryKeyIsRead) {
  const auto spec = parse_transcode_spec(
      "codec=hevc,short_side=256,upscale=yes,gop=12,crf=30,audio=copy,fps=30000/1001,"
      "preset=veryfast,fastdecode=yes,depth=10");
  ASSERT_TRUE(spec) << spec.error().message;
  EXPECT_EQ(spec->codec, TranscodeCodec::kHevc);
  EXPECT_EQ(spec->short_side, 256u);
  EXPECT_TRUE(spec->upscale);
  EXPECT_EQ(spec->gop, 12);
  EXPECT_EQ(spec->crf, 30);
  EXPECT_TRUE(spec->copy_audio);
  EXPECT_EQ(spec->fps.numerator, 30000);
  EXPECT_EQ(spec->fps.denominator, 1001);
  EXPECT_EQ(spec->preset, "veryfast");
  EXPECT_TRUE(spec->fastdecode);
  EXPECT_EQ(spec->depth, 10);
}

TEST(TranscodeSpec, WhatIsWrittenIsReadAgain) {
  for (const char* text : {"", "codec=h264", "codec=vp9,crf=63", "codec=av1,preset=8,fps=24",
                           "short_side=224,codec=hevc,gop=16,depth=8", "fps=29.97,audio=keep"}) {
    const auto spec = parse_transcode_spec(text);
    ASSERT_TRUE(spec) << text << ": " << spec.error().message;
    const auto again = parse_transcode_spec(to_string(*spec));
    ASSERT_TRUE(again) << to_string(*spec) << ": " << again.error().message;
    EXPECT_EQ(*again, *spec);
  }
  EXPECT_EQ(to_string(TranscodeSpec()), to_string(*parse_transcode_spec("codec=h264")));
}

TEST(TranscodeSpec, TheCodecDecidesDefaultsWhereverItStands) {
  EXPECT_EQ(parse_transcode_spec("gop=20,codec=vp9")->crf, 32);
  EXPECT_EQ(parse_transcode_spec("crf=60,codec=av1")->preset, "6");
  EXPECT_EQ(parse_transcode_spec("codec=hevc")->crf, 28);
}

TEST(TranscodeSpec, FrameRatesOfTelevision) {
  const auto rate = [](const char* text) {
    const auto spec = parse_transcode_spec(std::string("fps=") + text);
    return spec ? std::pair(spec->fps.numerator, spec->fps.denominator) : std::pair(0, 0);
  };
  EXPECT_EQ(rate("25"), std::pair(25, 1));
  EXPECT_EQ(rate("29.97"), std::pair(30000, 1001));
  EXPECT_EQ(rate("23.976"), std::pair(24000, 1001));
  EXPECT_EQ(rate("59.94"), std::pair(60000, 1001));
  EXPECT_EQ(rate("12.5"), std::pair(25, 2));
  EXPECT_EQ(rate("0.5"), std::pair(1, 2));
  EXPECT_EQ(rate("50/2"), std::pair(25, 1));
  EXPECT_EQ(rate("240"), std::pair(240, 1));
}

TEST(TranscodeSpec, MistakesAreNamed) {
  using ::testing::HasSubstr;
  EXPECT_THAT(complaint("short_sid=256"), HasSubstr("did you mean 'short_side'?"));
  EXPECT_THAT(complaint("cfr=20"), HasSubstr("did you mean 'crf'?"));
  EXPECT_THAT(complaint("codec=h265"), HasSubstr("expected h264, hevc, vp9, av1"));
  EXPECT_THAT(complaint("gop=250"), HasSubstr("gop=250: expected a whole number from 12 to 30"));
  EXPECT_THAT(complaint("gop=11"), HasSubstr("12 to 30"));
  EXPECT_THAT(complaint("crf=52"), HasSubstr("1 to 51"));
  EXPECT_THAT(complaint("crf=64,codec=vp9"), HasSubstr("1 to 63"));
  EXPECT_THAT(complaint("short_side=255"), HasSubstr("even"));
  EXPECT_THAT(complaint("short_side=8"), HasSubstr("16 to 8192"));
  EXPECT_THAT(complaint("short_side=256px"), HasSubstr("whole number"));
  EXPECT_THAT(complaint("audio=mute"), HasSubstr("drop or copy"));
  EXPECT_THAT(complaint("preset=quick"), HasSubstr("ultrafast, superfast"));
  EXPECT_THAT(complaint("codec=av1,preset=fast"), HasSubstr("0 to 8"));
  EXPECT_THAT(complaint("codec=vp9,fastdecode=yes"), HasSubstr("only for h264 and hevc"));
  EXPECT_THAT(complaint("upscale=yes"), HasSubstr("short_side"));
  EXPECT_THAT(complaint("fastdecode=maybe"), HasSubstr("yes or no"));
  EXPECT_THAT(complaint("depth=12"), HasSubstr("auto, 8 or 10"));
  EXPECT_THAT(complaint("gop=30,gop=12"), HasSubstr("twice"));
  EXPECT_THAT(complaint("gop"), HasSubstr("key=value"));
  EXPECT_THAT(complaint("gop=30,,crf=20"), HasSubstr("key=value"));
  for (const char* text : {"fps=0", "fps=-1", "fps=1e9", "fps=nan", "fps=25/0", "fps=x", "fps=241",
                           "fps=inf", "fps=0.001", "fps=1/0.5"})
    EXPECT_THAT(complaint(text), HasSubstr("frames a second")) << text;
}

}  // namespace
}  // namespace shardreel::tools
