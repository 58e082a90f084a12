#include "loader/pipeline/batch_queue.h"

#include <gtest/gtest.h>

#include <thread>

namespace shardreel {
namespace {

Batch batch_in(Result<std::unique_ptr<BatchBuffer>> buffer, std::uint64_t number) {
  Batch batch((*buffer)->finish(4096).value(), {1, 4096}, DType::kUint8, Layout::kThwc, "cpu:0");
  batch.index = number;
  return batch;
}

TEST(BatchQueue, GivesBatchesInOrderAndTheEndForEver) {
  MemoryLedger ledger;
  BatchQueue queue(ledger, host_batch_buffers(4096, 4), {});
  const std::stop_token never;
  for (std::uint64_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(queue.push(batch_in(queue.acquire(0, never), i), 0));
  }
  EXPECT_TRUE(queue.push(EpochOver{7}, 0));
  EXPECT_TRUE(queue.push(RunOver{}, 0));
  for (std::uint64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(std::get<Batch>(*queue.take(never)).index, i);
  }
  EXPECT_EQ(std::get<EpochOver>(*queue.take(never)).epoch, 7U);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(std::holds_alternative<RunOver>(*queue.take(never)));
  EXPECT_EQ(ledger.snapshot().total.now, 0U);
  EXPECT_EQ(ledger.snapshot().total.peak, 3U * 4096);
}

TEST(BatchQueue, ALaneWaitsForABatchToComeBack) {
  MemoryLedger ledger;
  BatchQueue queue(ledger, host_batch_buffers(4096, 1), {});
  const std::stop_token never;
  auto first = queue.acquire(0, never);
  std::jthread lane([&] { EXPECT_TRUE(*queue.acquire(0, never)); });
  while (!queue.lane_waits()) std::this_thread::yield();
  first->reset();
}

TEST(BatchQueue, AConsumerThatKeepsAllGetsOneMore) {
  MemoryLedger ledger;
  int warned = 0;
  BatchQueue queue(ledger, host_batch_buffers(4096, 2), [&warned] { ++warned; });
  const std::stop_token never;
  std::jthread lane([&] {
    for (std::uint64_t i = 0; i < 5; ++i) queue.push(batch_in(queue.acquire(0, never), i), 0);
  });
  std::vector<Batch> kept;
  for (int i = 0; i < 5; ++i) kept.push_back(std::get<Batch>(*queue.take(never)));
  EXPECT_EQ(warned, 1);
  const auto use = ledger.snapshot();
  EXPECT_EQ(use.tags[static_cast<std::size_t>(MemoryTag::kBatch)].now, 2U * 4096);
  EXPECT_EQ(use.tags[static_cast<std::size_t>(MemoryTag::kHeld)].now, 3U * 4096);
}

TEST(BatchQueue, ARestartVoidsWhatIsQueuedAndRefusesTheOld) {
  MemoryLedger ledger;
  BatchQueue queue(ledger, host_batch_buffers(4096, 2), {});
  const std::stop_token never;
  queue.push(batch_in(queue.acquire(0, never), 0), 0);
  EXPECT_EQ(queue.restart(1), 0U);  // a batch without clips
  EXPECT_FALSE(queue.push(batch_in(queue.acquire(1, never), 1), 0));
  auto one = queue.acquire(1, never);
  auto two = queue.acquire(1, never);
  std::jthread lane([&] { EXPECT_FALSE(*queue.acquire(1, never)); });
  while (!queue.lane_waits()) std::this_thread::yield();
  queue.restart(2);  // wakes a lane of the old generation
}

TEST(BatchQueue, StopWakesBothSides) {
  MemoryLedger ledger;
  BatchQueue queue(ledger, host_batch_buffers(4096, 0), {});
  std::stop_source stop;
  std::jthread lane([&] { (void)queue.acquire(0, stop.get_token()); });
  std::jthread consumer([&] {
    // With no buffer at all the consumer grants one; the batch never comes, the stop does.
    EXPECT_FALSE(queue.take(stop.get_token()));
  });
  stop.request_stop();
}

}  // namespace
}  // namespace shardreel
