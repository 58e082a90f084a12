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

LoaderOptions good() {
  LoaderOptions options;
  options.input.urls = {"a.tar"};
  return options;
}

// The names and defaults that the product promises, written out a second time on purpose.
const std::map<std::string, Json> kPromised = {
    {"urls", Json::array()},
    {"video_fields", {"mp4",  "m4v", "mov", "mkv", "webm", "avi",  "ts",   "m2ts", "mts",   "mpg",
                      "mpeg", "flv", "3gp", "ogv", "h264", "h265", "hevc", "ivf",  "mjpeg", "wmv"}},
    {"integrity", "strict"},
    {"on_error", "skip"},
    {"max_skip_ratio", 0.05},
    {"filter", Json::array()},
    {"shuffle", "all"},
    {"open_shards", 4},
    {"open_videos", 8},
    {"num_frames", 16},
    {"frame_step", 1},
    {"window_stride", nullptr},
    {"fps", nullptr},
    {"windows_per_video", "all"},
    {"window_choice", "random"},
    {"short_policy", "drop"},
    {"unit_clips", 32},
    {"width", 224},
    {"height", 224},
    {"resize_mode", "short_side"},
    {"crop", "center"},
    {"crop_scale", {0.5, 1.0}},
    {"crop_ratio", {3.0 / 4, 4.0 / 3}},
    {"flip", 0.0},
    {"color", "rgb"},
    {"dtype", "uint8"},
    {"mean", Json::array()},
    {"std", Json::array()},
    {"layout", "thwc"},
    {"batch_size", 8},
    {"drop_last", nullptr},
    {"seed", 0},
    {"epoch", 0},
    {"epochs", 1},
    {"batches_per_epoch", nullptr},
    {"rank", nullptr},
    {"world_size", nullptr},
    {"ranks", "equal"},
    {"memory_bytes", "2GiB"},
    {"shuffle_bytes", nullptr},
    {"min_fill", 100},
    {"shuffle_domain", "frames"},
    {"prefetch_batches", 2},
    {"held_batches", 2},
    {"reader_threads", 2},
    {"decode_threads", nullptr},
    {"member_inline_bytes", 64ULL << 20},
    {"max_member_bytes", 64ULL << 30},
    {"spool_dir", nullptr},
    {"allow_pipe", true},
    {"devices", {"cpu:0"}},
    {"decode", "auto"},
};

TEST(OptionsTest, TableHasThePromisedNamesAndDefaults) {
  std::map<std::string, Json> table;
  for (const OptionInfo& info : option_table()) {
    EXPECT_TRUE(table.emplace(info.name, Json::parse(info.initial)).second) << info.name;
    EXPECT_FALSE(info.values.empty()) << info.name;
    EXPECT_FALSE(info.help.empty()) << info.name;
  }
  EXPECT_EQ(table, kPromised);
}

TEST(OptionsTest, DefaultsAreFineOnceThereIsAShard) {
  EXPECT_THAT(LoaderOptions{}.validate(), ElementsAre(HasSubstr("urls")));
  EXPECT_THAT(good().validate(), IsEmpty());
}

// One value other than the default for every option, as JSON and as text.
struct Setting {
  Json json;
  std::string text;
};
const std::map<std::string, Setting> kOther = {
    {"urls", {{"b-{0..3}.tar"}, "b-{0..3}.tar"}},
    {"video_fields", {{"mkv", "clip.mp4"}, "mkv,clip.mp4"}},
    {"integrity", {"compat", "compat"}},
    {"on_error", {"fail", "fail"}},
    {"max_skip_ratio", {0.25, "0.25"}},
    {"filter", {{"cls=3"}, "cls=3"}},
    {"shuffle", {"none", "none"}},
    {"open_shards", {2, "2"}},
    {"open_videos", {3, "3"}},
    {"num_frames", {32, "32"}},
    {"frame_step", {2, "2"}},
    {"window_stride", {7, "7"}},
    {"fps", {12.5, "12.5"}},
    {"windows_per_video", {4, "4"}},
    {"window_choice", {"uniform", "uniform"}},
    {"short_policy", {"loop", "loop"}},
    {"unit_clips", {5, "5"}},
    {"width", {112, "112"}},
    {"height", {96, "96"}},
    {"resize_mode", {"fit", "fit"}},
    {"crop", {"resized", "resized"}},
    {"crop_scale", {{0.25, 0.75}, "0.25-0.75"}},
    {"crop_ratio", {{0.5, 2.0}, "1/2-2/1"}},
    {"flip", {0.5, "0.5"}},
    {"color", {"gray", "gray"}},
    {"dtype", {"float16", "float16"}},
    {"mean", {{0.485, 0.456, 0.406}, "0.485,0.456,0.406"}},
    {"std", {{0.25}, "0.25"}},
    {"layout", {"cthw", "cthw"}},
    {"batch_size", {4, "4"}},
    {"drop_last", {false, "false"}},
    {"seed", {18446744073709551615ULL, "18446744073709551615"}},
    {"epoch", {3, "3"}},
    {"epochs", {0, "0"}},
    {"batches_per_epoch", {10, "10"}},
    {"rank", {1, "1"}},
    {"world_size", {2, "2"}},
    {"ranks", {"exact", "exact"}},
    {"memory_bytes", {"512MiB", "512MiB"}},
    {"shuffle_bytes", {"100MiB", "100MiB"}},
    {"min_fill", {10, "10"}},
    {"shuffle_domain", {"packets", "packets"}},
    {"prefetch_batches", {3, "3"}},
    {"held_batches", {1, "1"}},
    {"reader_threads", {4, "4"}},
    {"decode_threads", {6, "6"}},
    {"member_inline_bytes", {1 << 20, "1MiB"}},
    {"max_member_bytes", {1 << 30, "1GiB"}},
    {"spool_dir", {"/var/tmp", "/var/tmp"}},
    {"allow_pipe", {false, "false"}},
    {"devices", {{"cpu:0", "cpu:1"}, "cpu:0,cpu:1"}},
    {"decode", {"cpu", "cpu"}},
};

TEST(OptionsTest, EveryOptionIsSetByJsonAndByTextAndNothingElseIs) {
  const Json initial = Json::parse(LoaderOptions{}.to_json());
  for (const OptionInfo& info : option_table()) {
    ASSERT_TRUE(kOther.contains(info.name)) << info.name;
    const Setting& other = kOther.at(info.name);
    Json expected = initial;
    expected[info.name] = other.json;
    ASSERT_NE(expected, initial) << info.name;

    const auto from_json = LoaderOptions::from_json(Json{{info.name, other.json}}.dump());
    ASSERT_TRUE(from_json) << from_json.error().message;
    EXPECT_EQ(Json::parse(from_json->to_json()), expected) << info.name;

    LoaderOptions from_text;
    const auto set = set_option(from_text, info.name, other.text);
    ASSERT_TRUE(set) << set.error().message;
    EXPECT_EQ(Json::parse(from_text.to_json()), expected) << info.name;
  }
}

TEST(OptionsTest, JsonRoundTrips) {
  Json all = Json::object();
  for (const auto& [name, other] : kOther) all[name] = other.json;
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
  const std::vector<std::pair<std::string, Json>> wrong = {
      {"urls", 3},
      {"urls", {1, 2}},
      {"num_frames", 4294967296ULL},
      {"num_frames", 1.5},
      {"num_frames", -1},
      {"num_frames", "8"},
      {"num_frames", nullptr},
      {"window_stride", 0},
      {"windows_per_video", 0},
      {"windows_per_video", "some"},
      {"fps", "fast"},
      {"crop_scale", {0.5}},
      {"crop_scale", "0.5"},
      {"crop_ratio", "3/0-4/3"},
      {"mean", {"a"}},
      {"drop_last", 1},
      {"rank", -1},
      {"rank", 4294967296ULL},
      {"memory_bytes", 1.5},
      {"memory_bytes", -1},
      {"member_inline_bytes", "much"},
      {"allow_pipe", "yes"},
      {"devices", 0},
      {"spool_dir", false},
  };
  for (const auto& [name, value] : wrong) {
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
  LoaderOptions options = good();
  options.input.urls = {"bad\xff.tar"};
  EXPECT_THAT(options.to_json(), HasSubstr("bad"));
  EXPECT_TRUE(Json::accept(options.to_json()));
}

struct Invalid {
  std::function<void(LoaderOptions&)> spoil;
  std::vector<std::string> named;  // parts of the one sentence
};

TEST(OptionsTest, ValidateFindsWhatIsWrong) {
  const std::vector<Invalid> cases = {
      {[](auto& o) { o.input.urls = {""}; }, {"urls", "empty"}},
      {[](auto& o) { o.input.video_fields.clear(); }, {"video_fields"}},
      {[](auto& o) { o.input.max_skip_ratio = 1.5; }, {"max_skip_ratio", "1.5"}},
      {[](auto& o) { o.input.filter = {"nonsense"}; }, {"filter 'nonsense'", "NAME=VALUE"}},
      {[](auto& o) { o.input.open_shards = 0; }, {"open_shards"}},
      {[](auto& o) { o.input.open_videos = 0; }, {"open_videos"}},
      {[](auto& o) { o.input.reader_threads = 0; }, {"reader_threads"}},
      {[](auto& o) { o.input.max_member_bytes = 0; }, {"max_member_bytes"}},
      {[](auto& o) {
         o.input.allow_pipe = false;
         o.input.urls = {"pipe:cat a.tar"};
       },
       {"allow_pipe"}},
      {[](auto& o) { o.window.num_frames = 0; }, {"num_frames", "not 0"}},
      {[](auto& o) { o.window.frame_step = 0; }, {"frame_step"}},
      {[](auto& o) { o.window.unit_clips = 0; }, {"unit_clips"}},
      {[](auto& o) { o.window.fps = 0.0; }, {"fps"}},
      {[](auto& o) { o.window.fps = std::nan(""); }, {"fps"}},
      {[](auto& o) { o.window.fps = INFINITY; }, {"fps"}},
      {[](auto& o) { o.window.num_frames = o.window.frame_step = 1U << 20; }, {"num_frames"}},
      {[](auto& o) { o.transform.width = 0; }, {"width"}},
      {[](auto& o) { o.transform.height = 16385; }, {"height", "16384"}},
      {[](auto& o) { o.transform.crop_scale_min = 0; }, {"crop_scale"}},
      {[](auto& o) { o.transform.crop_scale_max = 1.5; }, {"crop_scale"}},
      {[](auto& o) { o.transform.crop_ratio_min = 3; }, {"crop_ratio"}},
      {[](auto& o) { o.transform.flip = -0.1; }, {"flip"}},
      {[](auto& o) { o.transform.flip = std::nan(""); }, {"flip"}},
      {[](auto& o) { o.transform.mean = {0.5}; }, {"mean", "float32"}},
      {[](auto& o) {
         o.transform.dtype = DType::kFloat32;
         o.transform.mean = {0.5, 0.5};
       },
       {"mean", "3 channels"}},
      {[](auto& o) {
         o.transform.dtype = DType::kFloat32;
         o.transform.color = ColorMode::kGray;
         o.transform.mean = {0.5, 0.5, 0.5};
       },
       {"mean", "1 channels"}},
      {[](auto& o) {
         o.transform.dtype = DType::kFloat32;
         o.transform.std = {1, 0, 1};
       },
       {"std", "0"}},
      {[](auto& o) {
         o.transform.color = ColorMode::kYuv420;
         o.transform.width = 223;
       },
       {"yuv420", "even"}},
      {[](auto& o) {
         o.transform.color = ColorMode::kYuv420;
         o.transform.dtype = DType::kFloat32;
       },
       {"yuv420", "uint8"}},
      {[](auto& o) {
         o.transform.color = ColorMode::kYuv420;
         o.transform.layout = Layout::kTchw;
       },
       {"yuv420", "thwc"}},
      {[](auto& o) { o.batch.batch_size = 0; }, {"batch_size"}},
      {[](auto& o) { o.batch.batches_per_epoch = 0; }, {"batches_per_epoch"}},
      {[](auto& o) { o.batch.prefetch_batches = 0; }, {"prefetch_batches"}},
      {[](auto& o) { o.batch.held_batches = 0; }, {"held_batches"}},
      {[](auto& o) { o.batch.rank = 0; }, {"world_size"}},
      {[](auto& o) {
         o.batch.rank = 2;
         o.batch.world_size = 2;
         o.batch.ranks = RankMode::kExact;
       },
       {"rank", "2 of 2"}},
      {[](auto& o) {
         o.batch.rank = 0;
         o.batch.world_size = 2;
       },
       {"batches_per_epoch", "ranks = exact"}},
      {[](auto& o) {
         o.resource.devices = {"cpu:0", "cpu:1"};
       },
       {"2 ranks", "batches_per_epoch", "ranks = exact"}},
      {[](auto& o) {
         o.input.urls = {"-"};
         o.batch.epochs = 2;
       },
       {"standard input", "epochs"}},
      {[](auto& o) {
         o.input.urls = {"-"};
         o.batch.epochs = 0;
       },
       {"standard input", "endless"}},
      {[](auto& o) {
         o.input.urls = {"a.tar::-"};
         o.resource.devices = {"cpu:0", "cpu:1"};
         o.batch.ranks = RankMode::kExact;
       },
       {"standard input", "one lane"}},
      {[](auto& o) {
         o.input.urls = {"-", "-"};
       },
       {"more than once"}},
      {[](auto& o) { o.resource.memory_bytes = "lots"; }, {"memory_bytes", "lots"}},
      {[](auto& o) { o.resource.memory_bytes = "0"; }, {"memory_bytes"}},
      {[](auto& o) { o.resource.memory_bytes = "0%"; }, {"memory_bytes"}},
      {[](auto& o) { o.resource.memory_bytes = "101%"; }, {"memory_bytes", "100%"}},
      {[](auto& o) { o.resource.memory_bytes = "%"; }, {"memory_bytes"}},
      {[](auto& o) { o.resource.memory_bytes = ""; }, {"memory_bytes"}},
      {[](auto& o) { o.resource.shuffle_bytes = "x"; }, {"shuffle_bytes"}},
      {[](auto& o) { o.resource.shuffle_bytes = "4GiB"; }, {"shuffle_bytes", "memory_bytes"}},
      {[](auto& o) { o.resource.min_fill = 0; }, {"min_fill"}},
      {[](auto& o) { o.resource.devices.clear(); }, {"devices"}},
      {[](auto& o) { o.resource.devices = {"cuda:0"}; }, {"no CUDA", "cpu:0"}},
      {[](auto& o) { o.resource.devices = {"gpu:0"}; }, {"'gpu:0'", "cpu:N"}},
      {[](auto& o) { o.resource.devices = {"cpu:"}; }, {"'cpu:'"}},
      {[](auto& o) { o.resource.devices = {"cpu:01"}; }, {"'cpu:01'"}},
      {[](auto& o) { o.resource.devices = {"cpu"}; }, {"'cpu'"}},
      {[](auto& o) {
         o.resource.devices = {"cpu:3", "cpu:3"};
         o.batch.ranks = RankMode::kExact;
       },
       {"cpu:3", "twice"}},
      {[](auto& o) {
         o.resource.devices = {"auto", "cpu:1"};
         o.batch.ranks = RankMode::kExact;
       },
       {"auto stands alone"}},
      {[](auto& o) { o.resource.decode = DecodeDevice::kCuda; }, {"no CUDA", "cpu:0"}},
      {[](auto& o) { o.resource.shuffle_domain = ShuffleDomain::kPackets; },
       {"packets", "not available"}},
      {[](auto& o) { o.resource.shuffle_domain = ShuffleDomain::kAuto; },
       {"auto", "not available"}},
      {[](auto& o) { o.resource.decode_threads = 100000; }, {"decode_threads"}},
  };
  for (std::size_t i = 0; i < cases.size(); ++i) {
    LoaderOptions options = good();
    cases[i].spoil(options);
    const auto problems = options.validate();
    ASSERT_EQ(problems.size(), 1U) << "case " << i << ": " << ::testing::PrintToString(problems)
                                   << " for " << ::testing::PrintToString(cases[i].named);
    for (const std::string& part : cases[i].named) EXPECT_THAT(problems[0], HasSubstr(part));
  }
}

TEST(OptionsTest, ValidateFindsEverythingAtOnce) {
  LoaderOptions options = good();
  options.window.num_frames = 0;
  options.transform.width = 0;
  options.batch.batch_size = 0;
  options.resource.devices = {"cuda:0"};
  EXPECT_THAT(options.validate(), ElementsAre(HasSubstr("num_frames"), HasSubstr("width"),
                                              HasSubstr("batch_size"), HasSubstr("CUDA")));
}

TEST(OptionsTest, ValidateAcceptsWhatIsRight) {
  const std::vector<std::function<void(LoaderOptions&)>> cases = {
      [](auto& o) { o.resource.devices = {"auto"}; },
      [](auto& o) { o.resource.memory_bytes = "25%"; },
      [](auto& o) { o.input.urls = {"-"}; },
      [](auto& o) {
        o.input.filter = {"key=a*", "json.a.b=c", "cls=", "min_seconds=2.5"};
      },
      [](auto& o) {
        o.resource.devices = {"cpu:0", "cpu:7"};
        o.batch.batches_per_epoch = 3;
      },
      [](auto& o) {
        o.batch.rank = 3;
        o.batch.world_size = 4;
        o.batch.ranks = RankMode::kExact;
      },
      [](auto& o) {
        o.transform.color = ColorMode::kYuv420;
        o.transform.width = o.transform.height = 16384;
      },
      [](auto& o) {
        o.transform.dtype = DType::kFloat16;
        o.transform.mean = {0.1, 0.2, 0.3};
        o.transform.std = {0.5};
      },
  };
  for (std::size_t i = 0; i < cases.size(); ++i) {
    LoaderOptions options = good();
    cases[i](options);
    EXPECT_THAT(options.validate(), IsEmpty()) << "case " << i;
  }
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
          "`feed` takes `--max-batches N` (a lane ends after N batches) and `--clips-out "
          "FILE.jsonl` "
          "(a line for each delivered clip).\n";
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
