// A project outside of the tree: every public header, and the whole library linked.
#include <shardreel/batch.h>
#include <shardreel/byte_source.h>
#include <shardreel/error.h>
#include <shardreel/loader.h>
#include <shardreel/metrics.h>
#include <shardreel/options.h>
#include <shardreel/sample.h>
#include <shardreel/shard_reader.h>
#include <shardreel/shard_url.h>
#include <shardreel/shard_writer.h>
#include <shardreel/units.h>

#include <iostream>

int main() {
  shardreel::LoaderOptions options;
  options.input.urls = {"no-such-shard.tar"};
  options.resource.memory_bytes = "512MiB";
  try {
    auto loader = shardreel::Loader::open(options);
    while (const auto batch = loader.next()) std::cout << batch->size() << " clips\n";
  } catch (const shardreel::ShardreelError& error) {
    std::cout << "refused: " << error.what() << "\n";
    return 0;
  }
  std::cout << "an epoch without a shard went well\n";
  return 1;
}
