#!/usr/bin/python3
"""Worker processes of torch's DataLoader: which epoch each pass is, states, lengths.

    workers_test.py SHARDREEL WORK_FOLDER [UNITTEST ARGUMENTS]
"""

import collections
import functools
import itertools
import multiprocessing
import sys
import unittest
import warnings

import support
from support import SHARDS, SMALL

try:
    import torch
    from torch.utils.data import DataLoader
except ImportError as missing:
    print(f"SKIPPED: torch cannot be imported: {missing}")
    sys.exit(77)

import shardreel
from shardreel.pytorch import ClipDataset
from shardreel.webdataset import ClipSamples

MEMORY, SHUFFLE = 256 << 20, 8 << 20
OPTIONS = {**SMALL, "memory_bytes": MEMORY, "shuffle_bytes": SHUFFLE}
WAYS = [("fork", False), ("fork", True), ("spawn", False), ("spawn", True)]


def setUpModule():
    support.make_shards()
    warnings.filterwarnings("ignore", "shardreel runs in")


def clips_of(batch):
    """(key, first frame) of each clip."""
    return tuple(zip(batch["key"], (int(frames[0]) for frames in batch["frame_index"])))


@functools.lru_cache(maxsize=None)
def rank_epochs(workers, epochs=8):
    """By the ranks' own loaders: a Counter of the batches of each epoch."""
    found = [collections.Counter() for _ in range(epochs)]
    for rank in range(workers):
        with shardreel.Loader(SHARDS, tensors="numpy", **{
                **OPTIONS, "rank": rank, "world_size": workers, "memory_bytes": MEMORY // workers,
                "shuffle_bytes": SHUFFLE // workers, "ranks": "exact" if workers > 1 else None}) as loader:
            for epoch, batches in enumerate(found):
                loader.set_epoch(epoch)
                while (batch := loader.next()) is not None:
                    batches[clips_of(batch)] += 1
    return found


def loader_of(dataset, workers, context="fork", persistent=False, **more):
    return DataLoader(dataset, **{"batch_size": None, **more}, num_workers=workers, timeout=120 if workers else 0,
                      multiprocessing_context=context if workers else None, persistent_workers=persistent)


class PassesTest(unittest.TestCase):
    def check_pass(self, batches, epoch, workers):
        found = collections.Counter(map(clips_of, batches))
        epochs = [number for number, known in enumerate(rank_epochs(workers)) if known == found]
        self.assertEqual(epochs, [epoch])

    def test_the_oracle_tells_epochs_apart(self):
        for workers in (1, 2):
            for one, other in itertools.combinations(rank_epochs(workers), 2):
                self.assertNotEqual(one, other)

    def test_each_pass_is_the_next_epoch(self):
        for context, persistent in WAYS:
            with self.subTest(context=context, persistent=persistent):
                batches = loader_of(ClipDataset(SHARDS, **OPTIONS, epochs=0), 2, context, persistent)
                for epoch in range(2):
                    self.check_pass(batches, epoch, 2)

    def test_without_workers_too(self):
        batches = loader_of(ClipDataset(SHARDS, **OPTIONS), 0)
        for epoch in range(3):
            self.check_pass(batches, epoch, 1)

    def test_an_epoch_that_is_set_reaches_them(self):
        for context, persistent in WAYS:
            with self.subTest(context=context, persistent=persistent):
                dataset = ClipDataset(SHARDS, **OPTIONS)
                batches = loader_of(dataset, 2, context, persistent)
                dataset.set_epoch(5)
                self.check_pass(batches, 5, 2)
                self.check_pass(batches, 6, 2)
                dataset.set_epoch(1)
                self.check_pass(batches, 1, 2)

    def test_an_epoch_of_the_options_is_the_first(self):
        self.check_pass(loader_of(ClipDataset(SHARDS, **OPTIONS, epoch=3), 2), 3, 2)

    def test_after_a_break_the_next_pass_is_whole(self):
        for persistent in (False, True):
            batches = loader_of(ClipDataset(SHARDS, **OPTIONS), 2, persistent=persistent)
            for _ in batches:
                break
            self.check_pass(batches, 1, 2)

    def test_passes_of_one_seed_are_different_epochs(self):
        batches = loader_of(ClipDataset(SHARDS, **OPTIONS), 2)
        for epoch in range(3):
            torch.manual_seed(0)
            self.check_pass(batches, epoch, 2)

    def test_passes_at_the_same_time_are_different_epochs(self):
        batches = loader_of(ClipDataset(SHARDS, **OPTIONS), 2)
        first, second = iter(batches), iter(batches)
        pairs = [pair for pair in itertools.zip_longest(first, second)]
        self.check_pass([one for one, _ in pairs if one is not None], 0, 2)
        self.check_pass([other for _, other in pairs if other is not None], 1, 2)

    def test_passes_with_and_without_workers_follow_each_other(self):
        dataset = ClipDataset(SHARDS, **OPTIONS)
        for epoch, workers in enumerate((2, 0, 1, 0, 2)):
            self.check_pass(loader_of(dataset, workers), epoch, workers or 1)

    def test_samples_come_from_the_next_epoch_too(self):
        for persistent in (False, True):
            options = {name: value for name, value in OPTIONS.items() if name != "batch_size"}
            source = ClipSamples(SHARDS, **options)
            samples = loader_of(source, 2, persistent=persistent)
            orders = [[(sample["__key__"], sample["__window__"]) for sample in samples] for _ in range(2)]
            self.assertNotEqual(*orders)
            self.assertEqual(*map(sorted, orders))
            self.assertEqual(len(set(orders[0])), len(orders[0]))

    def test_trainers_that_share_a_dataset_have_passes_of_their_own(self):
        dataset = ClipDataset(SHARDS, **OPTIONS)
        dataset.set_epoch(2)
        context = multiprocessing.get_context("fork")
        queue = context.Queue()

        def train():
            queue.put([{tuple(batch.ids[0])[0] for batch in loader_of(dataset, 2)} for _ in range(2)])

        trainers = [context.Process(target=train) for _ in range(2)]
        for trainer in trainers:
            trainer.start()
        try:
            for _ in trainers:
                self.assertEqual(queue.get(timeout=120), [{2}, {3}])
        finally:
            for trainer in trainers:
                trainer.kill()
                trainer.join()


class LengthTest(unittest.TestCase):
    def test_batches_per_epoch_are_those_of_all_workers(self):
        for workers, batches_per_epoch in ((0, 5), (2, 5), (3, 7), (2, 1)):
            with self.subTest(workers=workers, batches_per_epoch=batches_per_epoch):
                batches = loader_of(ClipDataset(SHARDS, **OPTIONS, batches_per_epoch=batches_per_epoch), workers)
                with warnings.catch_warnings():
                    warnings.simplefilter("error", UserWarning)
                    warnings.filterwarnings("ignore", "shardreel runs in")
                    warnings.filterwarnings("ignore", "This DataLoader will create")
                    self.assertEqual(len(batches), batches_per_epoch)
                    for _ in range(2):
                        self.assertEqual(sum(1 for _ in batches), batches_per_epoch)


class StateTest(unittest.TestCase):
    def stopped(self, taken):
        """A state after `taken` batches of epoch 1, what comes behind it, and the epoch after that."""
        with shardreel.Loader(SHARDS, tensors="torch", **OPTIONS, epochs=0) as loader:
            loader.set_epoch(1)
            state = loader.state_dict()
            for _ in range(taken):
                loader.next()
                state = loader.state_dict()
            return state, [clips_of(batch) for batch in iter(loader.next, None)], \
                [clips_of(batch) for batch in iter(loader.next, None)]

    def test_one_worker_goes_on_behind_it(self):
        for (context, persistent), taken in zip(WAYS, (4, 0, 4, 4)):
            with self.subTest(context=context, persistent=persistent, taken=taken):
                state, rest, following = self.stopped(taken)
                dataset = ClipDataset(SHARDS, **OPTIONS)
                dataset.load_state_dict(state)
                batches = loader_of(dataset, 1, context, persistent)
                self.assertEqual([clips_of(batch) for batch in batches], rest)
                self.assertEqual([clips_of(batch) for batch in batches], following)

    def test_without_workers_too(self):
        for taken in (0, 4):
            state, rest, following = self.stopped(taken)
            batches = loader_of(ClipDataset(SHARDS, **OPTIONS), 0)
            batches.dataset.load_state_dict(state)
            self.assertEqual([clips_of(batch) for batch in batches], rest)
            self.assertEqual([clips_of(batch) for batch in batches], following)

    def test_more_workers_refuse_it(self):
        for (context, persistent), taken in zip(WAYS[1:3], (0, 4)):
            with self.subTest(context=context, persistent=persistent, taken=taken):
                dataset = ClipDataset(SHARDS, **OPTIONS)
                dataset.load_state_dict(self.stopped(taken)[0])
                with self.assertRaisesRegex(shardreel.OptionError, "world_size was 1 and is 2.*num_workers=0"):
                    list(loader_of(dataset, 2, context, persistent))
                dataset.set_epoch(0)
                self.assertGreater(len(list(loader_of(dataset, 2, context, persistent))), 3)

    def test_there_is_none_of_what_workers_gave(self):
        dataset = ClipDataset(SHARDS, **OPTIONS)
        for _ in loader_of(dataset, 2):
            pass
        with self.assertRaisesRegex(shardreel.ShardreelError, "num_workers=0"):
            dataset.state_dict()
        dataset.set_epoch(4)
        state = dataset.state_dict()
        dataset = ClipDataset(SHARDS, **OPTIONS)
        dataset.load_state_dict(state)
        self.assertEqual({batch.epoch for batch in dataset}, {4})


class BatchTest(unittest.TestCase):
    def test_a_workers_batch_is_a_batch(self):
        for context, _ in WAYS[::2]:
            ids = []
            for batch in loader_of(ClipDataset(SHARDS, **OPTIONS, drop_last=False), 2, context):
                self.assertIsInstance(batch, shardreel.Batch)
                self.assertEqual(batch["video"].shape[1:], (8, support.SIDE, support.SIDE, 3))
                self.assertEqual([int(value) for value in batch["cls"]], [facts["class"] for facts in batch["json"]])
                self.assertEqual(batch.corrupt, [False] * len(batch["key"]))
                self.assertEqual(batch.epoch, 0)
                numbers = support.frame_number(batch["video"][0][0].numpy(), batch["json"][0])
                self.assertEqual(numbers, int(batch["frame_index"][0][0]))
                ids += batch.ids
            with shardreel.Loader(SHARDS, tensors="numpy", **OPTIONS, drop_last=False) as loader:
                self.assertEqual(sorted(ids), sorted(clip for batch in loader for clip in batch.ids))

    def test_bare_tensors_cannot_go_to_another_process(self):
        with self.assertRaisesRegex(shardreel.OptionError, "dlpack"):
            list(loader_of(ClipDataset(SHARDS, **OPTIONS, tensors="dlpack"), 2))


if __name__ == "__main__":
    support.main()
