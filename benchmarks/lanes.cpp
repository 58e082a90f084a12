// Does a slow consumer slow the other lanes down? Every lane's consumer "trains" for --step-ms a
// batch; in every second run the first one takes ten times as long. Quoted is what the others got
// in a second, beside the slow one over beside its equal; at least 0.9 is asked for. With a step of
// 0 all compete for the decode threads, and what the slow one leaves goes to the others.
// Prints one JSON object; medians over the rounds, whose runs take turns in being first.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "shardreel/loader.h"

namespace {

using namespace shardreel;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int kSlower = 10;

struct Setup {
  LoaderOptions options;
  milliseconds step{0};
  double seconds = 0;
};

/// Clips a second that all lanes but the first got.
double others(const Setup& setup, bool first_is_slow) {
  Loader loader = Loader::open(setup.options);
  const std::size_t lanes = loader.lanes();
  std::atomic<bool> counting{false}, over{false};
  std::atomic<std::uint64_t> clips{0};
  std::vector<std::jthread> consumers;
  for (std::size_t lane = 0; lane < lanes; ++lane) {
    consumers.emplace_back([&, lane] {
      const auto step = setup.step * (lane == 0 && first_is_slow ? kSlower : 1);
      // Where nobody trains, the slow one is at least slow.
      const auto pause = lane == 0 && first_is_slow ? std::max(step, milliseconds(500)) : step;
      while (!over) {
        const auto batch = loader.next(lane);
        if (batch && lane != 0 && counting) clips += batch->size();
        std::this_thread::sleep_for(pause);
      }
    });
  }
  // From full queues on.
  std::this_thread::sleep_for(std::chrono::duration<double>(setup.seconds / 3));
  counting = true;
  const auto begin = Clock::now();
  std::this_thread::sleep_for(std::chrono::duration<double>(setup.seconds));
  counting = false;
  const double took = std::chrono::duration<double>(Clock::now() - begin).count();
  over = true;
  consumers.clear();
  return static_cast<double>(clips) / took;
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"What a slow lane costs the others"};
  Setup setup;
  std::size_t lanes = 4;
  int rounds = 5;
  std::int64_t step = 250;
  app.add_option("shards", setup.options.input.urls, "tar shards")->required();
  app.add_option("--lanes", lanes)->check(CLI::Range(2, 16));
  app.add_option("--rounds", rounds)->check(CLI::Range(1, 1000));
  app.add_option("--step-ms", step, "that a batch takes its consumer")->check(CLI::Range(0, 60000));
  app.add_option("--seconds", setup.seconds, "that are counted in a run")->default_val(6.0);
  CLI11_PARSE(app, argc, argv);
  setup.step = milliseconds(step);
  setup.options.batch.epochs = 0;
  setup.options.batch.ranks = RankMode::kExact;
  setup.options.batch.rank = 0;
  setup.options.batch.world_size = 1;
  setup.options.resource.min_fill = 8;
  setup.options.resource.devices.clear();
  for (std::size_t i = 0; i < lanes; ++i)
    setup.options.resource.devices.push_back(fmt::format("cpu:{}", i));
  try {
    std::vector<double> even, beside_slow, ratios;
    for (int round = 0; round < rounds; ++round) {
      for (int turn = 0; turn < 2; ++turn) {
        const bool slow = (round + turn) % 2 == 1;
        (slow ? beside_slow : even).push_back(others(setup, slow));
      }
      ratios.push_back(beside_slow.back() / even.back());
    }
    nlohmann::ordered_json result;
    result["lanes"] = lanes;
    result["step_ms"] = step;
    result["slower"] = kSlower;
    result["clips_per_second_of_the_others"] = {{"beside_an_equal", median(even)},
                                                {"beside_a_slow_one", median(beside_slow)}};
    result["ratio"] = median(ratios);
    result["ratios"] = ratios;
    fmt::print("{}\n", result.dump(1));
  } catch (const ShardreelError& error) {
    fmt::print(stderr, "lanes: {}\n", error.what());
    return 1;
  }
  return 0;
}
