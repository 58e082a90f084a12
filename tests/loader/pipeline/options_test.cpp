#include "shardreel/options.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "loader/pipeline/options_filter.h"

namespace shardreel {
namespace {

using Json = nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// The names and defaults that the product promises, written out a second time on purpose.
const Json kPromised = Json::parse(R"({
  "urls": [],
  "video_fields": ["mp4", "m4v", "mov", "mkv", "webm", "avi", "ts", "m2ts", "mts", "mpg", "mpeg",
                   "flv", "3gp", "ogv", "h264", "h265", "hevc", "ivf", "mjpeg", "wmv", "asf",
                   "m2v", "vob", "3g2", "mxf", "gif", "webp"],
  "integrity": "strict", "on_error": "skip", "max_skip_ratio": 0.05, "filter": [],
  "shuffle": "all", "open_shards": 4, "open_videos": 8,
  "num_frames": 16, "frame_step": 1, "window_stride": null, "fps": null,
  "windows_per_video": "all", "window_choice": "random", "short_policy": "drop", "unit_clips": 32,
  "width": 224, "height": 224, "sample_aspect": "ignore", "resize_mode": "short_side",
  "crop": "center",
  "crop_scale": [0.5, 1.0], "crop_ratio": [0.75, 1.3333333333333333], "flip": 0.0,
  "color": "rgb", "dtype": "uint8", "mean": [], "std": [], "layout": "THWC",
  "batch_size": 8, "drop_last": null, "seed": 0, "epoch": 0, "epochs": 1,
  "batches_per_epoch": null, "rank": null, "world_size": null, "ranks": "equal",
  "memory_bytes": "2GiB", "shuffle_bytes": null, "min_fill": 100, "shuffle_domain": "frames",
  "prefetch_batches": 2, "held_batches": 2, "reader_threads": 2, "decode_threads": null,
  "member_inline_bytes": 67108864, "max_member_bytes": 68719476736, "spool_dir": null,
  "page_cache": "auto",
  "allow_pipe": true, "index_dir": null, "devices": ["cpu:0"], "decode": "auto",
  "gpu_memory_bytes": "8%", "gpu_memory_reserve": null,
  "connections": 16, "retries": 8, "request_timeout": 60.0, "stall_timeout": 15.0,
  "shard_timeout": 3600.0, "http_headers": [], "ca_file": null, "s3_endpoint": null,
  "s3_region": null, "anonymous": false, "cache_dir": null, "cache_bytes": 0, "cache_only": false
})");

TEST(OptionsTest, TableHasThePromisedNamesAndDefaults) {
  Json table;
  for (const OptionInfo& info : option_table()) {
    EXPECT_FALSE(table.contains(info.name)) << info.name;
    table[info.name] = Json::parse(info.initial);
    EXPECT_FALSE(info.values.empty()) << info.name;
    EXPECT_FALSE(info.help.empty()) << info.name;
  }
  EXPECT_EQ(table, kPromised);
}

TEST(OptionsTest, DefaultsLackOnlyAShard) {
  EXPECT_THAT(LoaderOptions{}.validate(), ElementsAre(HasSubstr("urls")));
}

// One value other than the default for every option: as JSON, and as text where that differs.
const Json kOther = Json::parse(R"({
  "urls": [["b-{0..3}.tar"], "b-{0..3}.tar"],
  "video_fields": [["mkv", "clip.mp4"], "mkv,clip.mp4"],
  "integrity": ["compat"], "on_error": ["fail"], "max_skip_ratio": [0.25],
  "filter": [["cls=3"], "cls=3"],
  "shuffle": ["none"], "open_shards": [2], "open_videos": [3],
  "num_frames": [32], "frame_step": [2], "window_stride": [7], "fps": [12.5],
  "windows_per_video": [4], "window_choice": ["uniform"], "short_policy": ["loop"],
  "unit_clips": [5],
  "width": [112], "height": [96], "sample_aspect": ["apply"], "resize_mode": ["fit"], "crop": ["resized"],
  "crop_scale": [[0.25, 0.75], "0.25-0.75"], "crop_ratio": [[0.5, 2.0], "1/2-2/1"], "flip": [0.5],
  "color": ["gray"], "dtype": ["float16"], "mean": [[0.485, 0.456, 0.406], "0.485,0.456,0.406"],
  "std": [[0.25], "0.25"], "layout": ["CTHW"],
  "batch_size": [4], "drop_last": [false], "seed": [18446744073709551615], "epoch": [3],
  "epochs": [0], "batches_per_epoch": [10], "rank": [1], "world_size": [2], "ranks": ["exact"],
  "memory_bytes": ["512MiB"], "shuffle_bytes": ["100MiB"], "min_fill": [10],
  "shuffle_domain": ["packets"], "prefetch_batches": [3], "held_batches": [1],
  "reader_threads": [4], "decode_threads": [6], "member_inline_bytes": [1048576, "1MiB"],
  "max_member_bytes": [1073741824, "1GiB"], "spool_dir": ["/var/tmp"],
  "page_cache": ["drop"], "allow_pipe": [false], "index_dir": ["/var/index"],
  "devices": [["cpu:0", "cpu:1"], "cpu:0,cpu:1"], "decode": ["cpu"],
  "gpu_memory_bytes": ["2GiB"], "gpu_memory_reserve": ["10%"],
  "connections": [4], "retries": [0], "request_timeout": [1.5], "stall_timeout": [2.5],
  "shard_timeout": [3.5], "http_headers": [["A: ${B}"], "A: ${B}"], "ca_file": ["/ca.pem"],
  "s3_endpoint": ["http://h:1"], "s3_region": ["auto"], "anonymous": [true],
  "cache_dir": ["/cache"], "cache_bytes": [1073741824, "1GiB"], "cache_only": [true]
})");

std::string as_text(const Json& setting) {
  const Json& last = setting.back();
  return last.is_string() ? last.get<std::string>() : last.dump();
}

TEST(OptionsTest, EveryOptionIsSetByJsonAndByTextAndNothingElseIs) {
  const Json initial = Json::parse(LoaderOptions{}.to_json());
  for (const OptionInfo& info : option_table()) {
    ASSERT_TRUE(kOther.contains(info.name)) << info.name;
    const Json& value = kOther[info.name].front();
    Json expected = initial;
    expected[info.name] = value;
    ASSERT_NE(expected, initial) << info.name;

    const auto from_json = LoaderOptions::from_json(Json{{info.name, value}}.dump());
    ASSERT_TRUE(from_json) << from_json.error().message;
    EXPECT_EQ(Json::parse(from_json->to_json()), expected) << info.name;

    LoaderOptions from_text;
    const auto set = set_option(from_text, info.name, as_text(kOther[info.name]));
    ASSERT_TRUE(set) << set.error().message;
    EXPECT_EQ(Json::parse(from_text.to_json()), expected) << info.name;
  }
}

TEST(OptionsTest, JsonRoundTrips) {
  Json all = Json::object();
  for (const auto& [name, setting] : kOther.items()) all[name] = setting.front();
  const auto options = LoaderOptions::from_json(all.dump());
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(Json::parse(options->to_json()), all);
  const auto again = LoaderOptions::from_json(options->to_json());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->to_json(), options->to_json());
  // The members themselves, for a sample of the rows: a getter and a setter may be wrong together.
  EXPECT_EQ(options->window.frame_step, 2U);
  EXPECT_EQ(options->transform.width, 112U);
  EXPECT_EQ(options->transform.height, 96U);
  EXPECT_DOUBLE_EQ(options->transform.crop_ratio_max, 2.0);
  EXPECT_EQ(options->transform.layout, Layout::kCthw);
  EXPECT_EQ(options->batch.rank, 1U);
  EXPECT_EQ(options->resource.memory_bytes, "512MiB");
}

TEST(OptionsTest, HeadersAreNotWrittenWithTheirValues) {
  LoaderOptions options;
  options.input.http_headers = {"Authorization: Bearer secret", "X: ${TOKEN}"};
  EXPECT_THAT(options.to_json(), ::testing::Not(HasSubstr("secret")));
  EXPECT_THAT(options.to_json(), AllOf(HasSubstr("Authorization: ***"), HasSubstr("X: ${TOKEN}")));
}

TEST(OptionsTest, NullAndDefaultsRoundTrip) {
  const auto options = LoaderOptions::from_json(LoaderOptions{}.to_json());
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(options->to_json(), LoaderOptions{}.to_json());
  const auto reset = LoaderOptions::from_json(R"({"fps": null, "drop_last": null, "rank": null})");
  ASSERT_TRUE(reset);
  EXPECT_FALSE(reset->window.fps.has_value());
}

TEST(OptionsTest, OneTextIsAListOfOneAndSizesMayBeNumbers) {
  const auto options = LoaderOptions::from_json(
      R"({"urls": "a.tar", "mean": 0.5, "memory_bytes": 1073741824, "max_member_bytes": "2GiB"})");
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_THAT(options->input.urls, ElementsAre("a.tar"));
  EXPECT_THAT(options->transform.mean, ElementsAre(0.5));
  EXPECT_EQ(options->resource.memory_bytes, "1073741824");
  EXPECT_EQ(options->input.max_member_bytes, 2ULL << 30);
}

TEST(OptionsTest, TextAppendsUrlsAndFiltersAndReplacesOtherLists) {
  LoaderOptions options;
  for (const char* url : {"a,b.tar", "c.tar"}) ASSERT_TRUE(set_option(options, "urls", url));
  EXPECT_THAT(options.input.urls, ElementsAre("a,b.tar", "c.tar"));
  ASSERT_TRUE(set_option(options, "video-fields", "mp4"));
  EXPECT_THAT(options.input.video_fields, ElementsAre("mp4"));
  ASSERT_TRUE(set_option(options, "windows_per_video", "all"));
  EXPECT_EQ(options.window.windows_per_video, 0U);
  ASSERT_TRUE(set_option(options, "layout", "tchw"));
  EXPECT_EQ(options.transform.layout, Layout::kTchw);
}

TEST(OptionsTest, AllProblemsOfJsonAreReportedAtOnce) {
  const auto options = LoaderOptions::from_json(
      R"({"nmu_frames": 8, "width": "wide", "shuffle": "some", "seed": -1, "flip": true})");
  ASSERT_FALSE(options);
  EXPECT_EQ(options.error().code, ErrorCode::kInvalidOption);
  EXPECT_THAT(
      options.error().message,
      AllOf(HasSubstr("did you mean 'num_frames'"), HasSubstr("width takes"),
            HasSubstr("all, shards, none"), HasSubstr("seed takes"), HasSubstr("flip takes")));
  const std::string& text = options.error().message;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 4);
}

TEST(OptionsTest, UnknownNamesNameTheNearest) {
  const std::map<std::string, std::string> nearest = {{"batchsize", "batch_size"},
                                                      {"frames_step", "frame_step"},
                                                      {"memory", "memory_bytes"},
                                                      {"colour", "color"},
                                                      {"worldsize", "world_size"}};
  for (const auto& [given, meant] : nearest) {
    LoaderOptions options;
    const auto set = set_option(options, given, "1");
    ASSERT_FALSE(set);
    if (given == "memory") continue;  // "memory" is as near to other names; any answer will do
    EXPECT_THAT(set.error().message, HasSubstr(fmt::format("did you mean '{}'", meant))) << given;
  }
  LoaderOptions options;
  EXPECT_THAT(set_option(options, "zzzzzzzzzz", "1").error().message,
              AllOf(HasSubstr("unknown option"), ::testing::Not(HasSubstr("did you mean"))));
}

TEST(OptionsTest, WrongValuesAreRefused) {
  const Json wrong = Json::parse(R"([
    ["urls", 3], ["urls", [1, 2]], ["num_frames", 4294967296], ["num_frames", 1.5],
    ["num_frames", -1], ["num_frames", "8"], ["num_frames", null], ["window_stride", 0],
    ["windows_per_video", 0], ["windows_per_video", "some"], ["fps", "fast"],
    ["crop_scale", [0.5]], ["crop_scale", "0.5"], ["crop_ratio", "3/0-4/3"], ["mean", ["a"]],
    ["drop_last", 1], ["rank", -1], ["rank", 4294967296], ["memory_bytes", 1.5],
    ["memory_bytes", -1], ["member_inline_bytes", "much"], ["allow_pipe", "yes"],
    ["devices", 0], ["spool_dir", false]
  ])");
  for (const Json& pair : wrong) {
    const std::string name = pair[0];
    const Json& value = pair[1];
    const auto options = LoaderOptions::from_json(Json{{name, value}}.dump());
    ASSERT_FALSE(options) << name << " " << value;
    EXPECT_THAT(options.error().message, HasSubstr(fmt::format("{} takes", name))) << value;
  }
}

TEST(OptionsTest, MalformedDocumentsAreRefused) {
  for (const std::string text : {"", "[]", "3", "{", "{\"seed\": 1,}", "{\"urls\": [\"\xff\"]}",
                                 "{\"seed\": 1, \"seed\": 2}", "{\"num-frames\": 3}"}) {
    EXPECT_FALSE(LoaderOptions::from_json(text)) << text;
  }
}

TEST(OptionsTest, BytesThatAreNotUtf8DoNotBreakJson) {
  LoaderOptions options;
  options.input.urls = {"bad\xff.tar"};
  EXPECT_THAT(options.to_json(), HasSubstr("bad"));
  EXPECT_TRUE(Json::accept(options.to_json()));
}

LoaderOptions good_but(const Json& changes) {
  Json object = {{"urls", {"a.tar"}}};
  object.update(changes);
  return LoaderOptions::from_json(object.dump()).value();
}

// What is changed, then parts of the one sentence that must come of it.
constexpr const char* kInvalid = R"([
  [{"urls": [""]}, "urls", "empty"],
  [{"video_fields": []}, "video_fields"],
  [{"video_fields": [""]}, "video_fields"],
  [{"max_skip_ratio": 1.5}, "max_skip_ratio", "1.5"],
  [{"filter": ["nonsense"]}, "filter 'nonsense'", "NAME=VALUE"],
  [{"open_shards": 0}, "open_shards"],
  [{"open_videos": 0}, "open_videos"],
  [{"reader_threads": 0}, "reader_threads"],
  [{"max_member_bytes": 0}, "max_member_bytes"],
  [{"allow_pipe": false, "urls": ["pipe:cat a.tar"]}, "allow_pipe"],
  [{"num_frames": 0}, "num_frames", "not 0"],
  [{"frame_step": 0}, "frame_step"],
  [{"unit_clips": 0}, "unit_clips"],
  [{"fps": 0.0}, "fps"],
  [{"fps": -1}, "fps"],
  [{"num_frames": 1048576, "frame_step": 1048576}, "num_frames"],
  [{"width": 0}, "width"],
  [{"height": 16385}, "height", "16384"],
  [{"crop_scale": [0, 1]}, "crop_scale"],
  [{"crop_scale": [0.5, 1.5]}, "crop_scale"],
  [{"crop_ratio": [3, 1]}, "crop_ratio"],
  [{"flip": -0.1}, "flip"],
  [{"mean": 0.5}, "mean", "float32"],
  [{"dtype": "float32", "mean": [0.5, 0.5]}, "mean", "3 channels"],
  [{"dtype": "float32", "color": "gray", "mean": [0.5, 0.5, 0.5]}, "mean", "1 channels"],
  [{"dtype": "float32", "std": [1, 0, 1]}, "std", "0"],
  [{"color": "yuv420", "width": 223}, "yuv420", "even"],
  [{"color": "yuv420", "dtype": "float32"}, "yuv420", "uint8"],
  [{"color": "yuv420", "layout": "tchw"}, "yuv420", "THWC"],
  [{"batch_size": 0}, "batch_size"],
  [{"batches_per_epoch": 0}, "batches_per_epoch"],
  [{"prefetch_batches": 0}, "prefetch_batches"],
  [{"held_batches": 0}, "held_batches"],
  [{"epoch": 18446744073709551615}, "epoch + epochs"],
  [{"rank": 0}, "world_size"],
  [{"rank": 0, "world_size": 0}, "world_size"],
  [{"rank": 2, "world_size": 2, "ranks": "exact"}, "rank", "2 of 2"],
  [{"urls": ["-"], "epochs": 2}, "standard input", "epochs"],
  [{"urls": ["-"], "epochs": 0}, "standard input", "endless"],
  [{"urls": ["a.tar::-"], "devices": ["cpu:0", "cpu:1"], "ranks": "exact"}, "standard input",
   "one lane"],
  [{"urls": ["-", "-"]}, "more than once"],
  [{"memory_bytes": "lots"}, "memory_bytes", "lots"],
  [{"memory_bytes": "0"}, "memory_bytes"],
  [{"memory_bytes": "0%"}, "memory_bytes"],
  [{"memory_bytes": "101%"}, "memory_bytes", "100%"],
  [{"memory_bytes": "%"}, "memory_bytes"],
  [{"memory_bytes": null}, "memory_bytes"],
  [{"shuffle_bytes": "x"}, "shuffle_bytes"],
  [{"shuffle_bytes": "4GiB"}, "shuffle_bytes", "memory_bytes"],
  [{"min_fill": 0}, "min_fill"],
  [{"devices": []}, "devices"],
  [{"devices": ["cuda:0"]}, "no CUDA", "cpu:0"],
  [{"devices": ["gpu:0"]}, "'gpu:0'", "cpu:N"],
  [{"devices": ["cpu:"]}, "'cpu:'"],
  [{"devices": ["cpu:01"]}, "'cpu:01'"],
  [{"devices": ["cpu"]}, "'cpu'"],
  [{"devices": ["cpu:3", "cpu:3"], "ranks": "exact"}, "cpu:3", "twice"],
  [{"devices": ["auto", "cpu:1"], "ranks": "exact"}, "auto stands alone"],
  [{"devices": ["cuda"]}, "'cuda'", "cuda:N"],
  [{"decode": "cuda"}, "no CUDA", "decode = cpu"],
  [{"gpu_memory_bytes": "110%"}, "gpu_memory_bytes", "110%"],
  [{"gpu_memory_reserve": "1 house"}, "gpu_memory_reserve", "8%"],
  [{"gpu_memory_reserve": "0%"}, "gpu_memory_reserve", "above 0%"],
  [{"decode_threads": 100000}, "decode_threads"]
])";

TEST(OptionsTest, ValidateFindsWhatIsWrong) {
  for (const Json& tested : Json::parse(kInvalid)) {
    const auto problems = good_but(tested[0]).validate();
    ASSERT_EQ(problems.size(), 1U) << tested << ::testing::PrintToString(problems);
    for (std::size_t i = 1; i < tested.size(); ++i)
      EXPECT_THAT(problems[0], HasSubstr(tested[i].get<std::string>()));
  }
}

TEST(OptionsTest, ValidateFindsNumbersThatAreNone) {
  for (const double number : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    LoaderOptions options = good_but(Json::object());
    options.window.fps = number;
    options.transform.flip = number;
    options.transform.crop_scale_max = number;
    options.input.max_skip_ratio = number;
    EXPECT_EQ(options.validate().size(), 4U) << number;
  }
}

TEST(OptionsTest, ValidateFindsEverythingAtOnce) {
  const Json changes =
      Json::parse(R"({"num_frames": 0, "width": 0, "batch_size": 0, "devices": ["cuda:0"]})");
  EXPECT_THAT(good_but(changes).validate(),
              ElementsAre(HasSubstr("num_frames"), HasSubstr("width"), HasSubstr("batch_size"),
                          HasSubstr("CUDA")));
}

TEST(OptionsTest, ValidateAcceptsWhatIsRight) {
  const Json right = Json::parse(R"([
    {}, {"devices": ["auto"]}, {"memory_bytes": "25%"}, {"urls": ["-"]},
    {"filter": ["key=a*", "json.a.b=c", "cls=", "min_seconds=2.5"]},
    {"devices": ["cpu:0", "cpu:7"], "batches_per_epoch": 3},
    {"rank": 3, "world_size": 4, "ranks": "exact"},
    {"color": "yuv420", "width": 16384, "height": 16384},
    {"dtype": "float16", "mean": [0.1, 0.2, 0.3], "std": 0.5},
    {"fps": 5, "frame_step": 2}
  ])");
  for (const Json& changes : right) EXPECT_THAT(good_but(changes).validate(), IsEmpty()) << changes;
}

TEST(OptionsTest, FiltersParse) {
  const auto glob = parse_filter("key=train/*=x");
  ASSERT_TRUE(glob);
  EXPECT_EQ(glob->kind, FilterKind::kKey);
  EXPECT_EQ(glob->text, "train/*=x");
  const auto field = parse_filter("seg.txt=a b");
  ASSERT_TRUE(field);
  EXPECT_EQ(field->kind, FilterKind::kField);
  EXPECT_EQ(field->name, "seg.txt");
  EXPECT_EQ(field->text, "a b");
  const auto json = parse_filter("json.lang=en");
  ASSERT_TRUE(json);
  EXPECT_EQ(json->kind, FilterKind::kJson);
  EXPECT_EQ(json->name, "lang");
  const auto seconds = parse_filter("max_seconds=2.5");
  ASSERT_TRUE(seconds);
  EXPECT_EQ(seconds->kind, FilterKind::kMaxSeconds);
  EXPECT_DOUBLE_EQ(seconds->number, 2.5);
  for (const char* bad : {"", "key", "=x", "key=", "json.=x", "min_frames=", "min_frames=many",
                          "min_width=-1", "max_seconds=nan", "max_seconds=1s"}) {
    EXPECT_FALSE(parse_filter(bad)) << bad;
  }
}

std::string options_page() {
  std::ostringstream page;
  page << "# Options\n\n"
          "One table in the code (`loader/pipeline/options_table.cpp`) makes this page, the JSON "
          "names and the command line, where `_` is written `-`: `--num-frames 8`.\n"
          "Sizes take `65536`, `512MiB`, `2GiB`, `1.5GB`. \"Decides\": O = the order or choice of "
          "clips, P = the pixels; nothing else changes either.\n"
          "`null` = unset. Write this page anew with `SHARDREEL_UPDATE_DOCS=1 "
          "build/release/bin/options_test`.\n\n"
          "| name | takes | default | decides | what it does |\n|---|---|---|---|---|\n";
  for (const OptionInfo& info : option_table()) {
    std::string initial = info.initial;
    if (info.name == "crop_ratio") initial = "[3/4,4/3]";
    page << "| `" << info.name << "` | " << info.values << " | `" << initial << "` | "
         << (info.decides.empty() ? "-" : info.decides) << " | " << info.help << " |\n";
  }
  page << "\n`shardreel feed` and `shardreel plan` also take `--config FILE.json` (an object with "
          "these names; flags win over it) and `--json`.\n"
          "`feed` takes `--max-batches N` (a lane ends after N batches), `--clips-out "
          "FILE.jsonl` (a line for each delivered clip), `--state-out FILE.json` and `--resume "
          "FILE.json` (docs/determinism.md).\n";
  return page.str();
}

TEST(OptionsTest, ThePageIsFresh) {
  const std::string expected = options_page();
  if (std::getenv("SHARDREEL_UPDATE_DOCS") != nullptr) {
    std::ofstream(SHARDREEL_OPTIONS_PAGE) << expected;
    return;
  }
  std::ostringstream found;
  found << std::ifstream(SHARDREEL_OPTIONS_PAGE).rdbuf();
  EXPECT_EQ(found.str(), expected) << "docs/options.md is stale; run: SHARDREEL_UPDATE_DOCS=1 "
                                      "build/release/bin/options_test";
}

}  // namespace
}  // namespace shardreel
