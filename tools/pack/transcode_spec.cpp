#include "tools/pack/transcode_spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <numeric>
#include <optional>
#include <set>
#include <vector>

namespace shardreel::tools {
namespace {

constexpr std::array<std::string_view, 10> kKeys = {"codec", "short_side", "upscale", "gop",
                                                    "crf",   "audio",      "fps",     "preset",
                                                    "depth", "fastdecode"};
constexpr std::array<std::string_view, 4> kCodecs = {"h264", "hevc", "vp9", "av1"};
constexpr std::array<std::string_view, 9> kPresets = {
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"};

Error wrong(std::string message) {
  return Error{ErrorCode::kInvalidOption, "transcode: " + std::move(message), {}, {}, {}};
}

/// Edits that turn one word into the other (Levenshtein).
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = std::exchange(row[j + 1], std::min({row[j] + 1, row[j + 1] + 1, replaced}));
    }
  }
  return row.back();
}

Error unknown_key(std::string_view key) {
  const auto nearest = std::min_element(kKeys.begin(), kKeys.end(), [&](auto a, auto b) {
    return distance(a, key) < distance(b, key);
  });
  return wrong(fmt::format("there is no '{}'; did you mean '{}'? (known: {})", key, *nearest,
                           fmt::join(kKeys, ", ")));
}

template <typename T>
std::optional<T> whole(std::string_view text) {
  T value{};
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Result<int> number(std::string_view key, std::string_view text, int least, int most) {
  const auto value = whole<int>(text);
  if (!value || *value < least || *value > most)
    return wrong(
        fmt::format("{}={}: expected a whole number from {} to {}", key, text, least, most));
  return *value;
}

Result<bool> yes_or_no(std::string_view key, std::string_view text) {
  if (text == "yes" || text == "true" || text == "1") return true;
  if (text == "no" || text == "false" || text == "0") return false;
  return wrong(fmt::format("{}={}: expected yes or no", key, text));
}

/// "30", "29.97" (read as 30000/1001) or "30000/1001".
Result<Rational> frame_rate(std::string_view text) {
  const Error bad = wrong(
      fmt::format("fps={}: expected frames a second up to 240, as 25, 29.97 or 30000/1001", text));
  Rational rate;
  if (const auto slash = text.find('/'); slash != std::string_view::npos) {
    const auto over = whole<std::int32_t>(text.substr(0, slash));
    const auto under = whole<std::int32_t>(text.substr(slash + 1));
    if (!over || !under || *over <= 0 || *under <= 0) return bad;
    rate = {*over, *under};
  } else {
    double value = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (problem != std::errc() || end != text.data() + text.size()) return bad;
    if (!(value >= 0.01) || value > 240) return bad;
    // The rates of television are written with two or three digits but are n * 1000 / 1001.
    const double near = std::round(value * 1.001);
    const bool television =
        std::abs(near / 1.001 - value) < 0.006 && std::abs(near - value) > 0.006;
    rate = television ? Rational{static_cast<std::int32_t>(near) * 1000, 1001}
                      : Rational{static_cast<std::int32_t>(std::lround(value * 1000)), 1000};
  }
  const auto common = std::gcd(rate.numerator, rate.denominator);
  rate = {rate.numerator / common, rate.denominator / common};
  if (rate.numerator > std::int64_t{240} * rate.denominator || rate.denominator > 100'000)
    return bad;
  return rate;
}

bool has_named_presets(TranscodeCodec codec) {
  return codec == TranscodeCodec::kH264 || codec == TranscodeCodec::kHevc;
}

Result<void> check_preset(const TranscodeSpec& spec) {
  if (has_named_presets(spec.codec)) {
    if (std::find(kPresets.begin(), kPresets.end(), spec.preset) == kPresets.end())
      return wrong(fmt::format("preset={}: expected {}", spec.preset, fmt::join(kPresets, ", ")));
    return {};
  }
  if (auto speed = number("preset", spec.preset, 0, 8); !speed) return std::move(speed.error());
  return {};
}

Result<void> set(TranscodeSpec& spec, std::string_view key, std::string_view value) {
  const auto take = [](auto& into, auto parsed) -> Result<void> {
    if (!parsed) return std::move(parsed.error());
    into = static_cast<std::remove_reference_t<decltype(into)>>(*parsed);
    return {};
  };
  if (key == "codec") return {};  // read first: the defaults of others hang on it
  if (key == "gop") return take(spec.gop, number(key, value, 12, 30));
  if (key == "crf")
    return take(spec.crf, number(key, value, 1, has_named_presets(spec.codec) ? 51 : 63));
  if (key == "upscale") return take(spec.upscale, yes_or_no(key, value));
  if (key == "fastdecode") return take(spec.fastdecode, yes_or_no(key, value));
  if (key == "fps") return take(spec.fps, frame_rate(value));
  if (key == "preset") {
    spec.preset = std::string(value);
    return {};
  }
  if (key == "short_side") {
    if (auto taken = take(spec.short_side, number(key, value, 16, 8192)); !taken) return taken;
    if (spec.short_side % 2 != 0)
      return wrong(fmt::format("short_side={}: expected an even number (4:2:0 video)", value));
    return {};
  }
  if (key == "audio") {
    if (value != "drop" && value != "copy" && value != "keep")
      return wrong(fmt::format("audio={}: expected drop or copy (keep is the same)", value));
    spec.copy_audio = value != "drop";
    return {};
  }
  if (key == "depth") {
    if (value != "auto" && value != "8" && value != "10")
      return wrong(fmt::format("depth={}: expected auto, 8 or 10", value));
    spec.depth = value == "auto" ? 0 : value == "8" ? 8 : 10;
    return {};
  }
  return unknown_key(key);
}

struct Setting {
  std::string_view key, value;
};

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

Result<std::vector<Setting>> split(std::string_view text) {
  std::vector<Setting> settings;
  std::set<std::string_view> seen;
  while (!text.empty()) {
    const auto comma = std::min(text.find(','), text.size());
    const std::string_view one = trimmed(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
    const auto equals = one.find('=');
    if (equals == std::string_view::npos || equals == 0 || equals + 1 == one.size())
      return wrong(fmt::format("'{}': expected key=value", one));
    const Setting setting{trimmed(one.substr(0, equals)), trimmed(one.substr(equals + 1))};
    if (!seen.insert(setting.key).second)
      return wrong(fmt::format("{} is given twice", setting.key));
    settings.push_back(setting);
  }
  return settings;
}

}  // namespace

bool operator==(const TranscodeSpec& a, const TranscodeSpec& b) {
  return to_string(a) == to_string(b);
}

Result<TranscodeSpec> parse_transcode_spec(std::string_view text) {
  auto settings = split(text);
  if (!settings) return std::move(settings.error());
  TranscodeSpec spec;
  for (const auto& [key, value] : *settings) {
    if (key != "codec") continue;
    const auto found = std::find(kCodecs.begin(), kCodecs.end(), value);
    if (found == kCodecs.end())
      return wrong(fmt::format("codec={}: expected {}", value, fmt::join(kCodecs, ", ")));
    spec.codec = static_cast<TranscodeCodec>(found - kCodecs.begin());
  }
  constexpr std::array<int, 4> kCrf = {23, 28, 32, 32};
  constexpr std::array<std::string_view, 4> kPreset = {"medium", "medium", "3", "6"};
  const auto codec = static_cast<std::size_t>(spec.codec);
  spec.crf = kCrf[codec];
  spec.preset = kPreset[codec];
  for (const auto& [key, value] : *settings) {
    if (auto done = set(spec, key, value); !done) return std::move(done.error());
  }
  if (auto good = check_preset(spec); !good) return std::move(good.error());
  if (spec.fastdecode && !has_named_presets(spec.codec))
    return wrong(fmt::format("fastdecode=yes: only for h264 and hevc, not {}", kCodecs[codec]));
  if (spec.upscale && spec.short_side == 0)
    return wrong("upscale=yes: expected a short_side to scale to");
  return spec;
}

std::string to_string(const TranscodeSpec& spec) {
  const auto codec = static_cast<std::size_t>(spec.codec);
  std::string text = fmt::format("codec={}", kCodecs[codec]);
  if (spec.short_side > 0)
    text += fmt::format(",short_side={},upscale={}", spec.short_side, spec.upscale ? "yes" : "no");
  text +=
      fmt::format(",gop={},crf={},audio={}", spec.gop, spec.crf, spec.copy_audio ? "copy" : "drop");
  if (spec.fps.numerator > 0)
    text += fmt::format(",fps={}/{}", spec.fps.numerator, spec.fps.denominator);
  text +=
      fmt::format(",preset={},fastdecode={},depth={}", spec.preset, spec.fastdecode ? "yes" : "no",
                  spec.depth == 0 ? "auto" : std::to_string(spec.depth));
  return text;
}

}  // namespace shardreel::tools
