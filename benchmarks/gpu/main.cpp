// gpu_bench QUESTION [SHARDS]: one of the GPU's questions, answered with one JSON object.
// benchmarks/gpu/run.sh asks them all. Exit status 2 where there is no GPU.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <exception>

#include "benchmarks/gpu/gpu_bench.h"
#include "loader/device/device_registry.h"

int main(int argc, char** argv) {
  using namespace shardreel;
  using namespace shardreel::gpu_bench;
  CLI::App app{"What decoding and feeding on a GPU gives"};
  Settings settings;
  std::string question;
  const std::map<std::string, Json (*)(const Settings&)> questions = {
      {"device", [](const Settings&) { return describe_device(); }},
      {"claim", &measure_claim},
      {"nvdec", &measure_nvdec},
      {"lane", &measure_lane},
      {"kernel", &measure_kernel},
      {"hybrid", &measure_hybrid},
      {"pressure", &measure_pressure}};
  std::vector<std::string> words;
  for (const auto& [word, ask] : questions) words.push_back(word);
  app.add_option("question", question)->required()->check(CLI::IsMember(words));
  app.add_option("shards", settings.shards, "tar shards, for questions about decoding");
  app.add_option("--rounds", settings.rounds)->check(CLI::Range(1, 1000));
  app.add_option("--layers", settings.layers, "of the network")->check(CLI::Range(1, 1000));
  app.add_option("--cpu-threads", settings.cpu_threads, "decode threads; 0 = all cores");
  app.add_option("--gpu-threads", settings.gpu_threads, "decode threads where the GPU decodes")
      ->check(CLI::Range(1, 64));
  app.add_option("--epochs", settings.epochs, "of the shards in a run")->check(CLI::Range(1, 1000));
  app.add_option("--unit-clips", settings.unit_clips);
  app.add_option("--gpu-memory-bytes", settings.gpu_memory_bytes);
  app.add_option("--gpu-memory-reserve", settings.gpu_memory_reserve);
  CLI11_PARSE(app, argc, argv);
  if (const CudaPresence presence = cuda_presence(); presence.devices == 0) {
    fmt::print(stderr, "gpu_bench: no GPU here: {}\n", presence.why_none);
    return 2;
  }
  const bool decodes = question != "device" && question != "lane" && question != "kernel";
  if (decodes && settings.shards.empty()) {
    fmt::print(stderr, "gpu_bench: {} needs shards\n", question);
    return 1;
  }
  try {
    fmt::print("{}\n", questions.at(question)(settings).dump(1));
  } catch (const std::exception& error) {
    fmt::print(stderr, "gpu_bench: {}: {}\n", question, error.what());
    return 1;
  }
  return 0;
}
