// The pixels of the first clip of every video, for comparing with those of other loaders: writes
// FOLDER/KEY@FRAME.rgb, [16, 224, 224, 3].

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <map>
#include <string>

#include "shardreel/loader.h"

int main(int argc, char** argv) {
  CLI::App app{"Write the first clip of every video"};
  shardreel::LoaderOptions options;
  std::string folder;
  app.add_option("shards", options.input.urls, "tar shards")->required();
  app.add_option("--out", folder, "an existing folder")->required();
  app.add_option("--frame-step", options.window.frame_step);
  CLI11_PARSE(app, argc, argv);
  options.batch.shuffle = shardreel::ShuffleMode::kNone;
  options.transform.resize_mode = shardreel::ResizeMode::kStretch;
  try {
    auto loader = shardreel::Loader::open(options);
    while (auto batch = loader.next()) {
      for (std::size_t i = 0; i < batch->size(); ++i) {
        const shardreel::ClipInfo& info = batch->clips[i];
        if (info.id.window != 0) continue;
        const auto bytes = batch->clip_bytes(i);
        std::ofstream(fmt::format("{}/{}@{}.rgb", folder, info.sample->key, info.frame_index[0]),
                      std::ios::binary)
            .write(reinterpret_cast<const char*>(bytes.data()),
                   static_cast<std::streamsize>(bytes.size()));
      }
    }
  } catch (const shardreel::ShardreelError& error) {
    fmt::print(stderr, "clip_dump: {}\n", error.what());
    return 1;
  }
  return 0;
}
