#!/usr/bin/python3
"""Two ranks on few and on odd numbers of shards: with ranks = equal they take equally many steps and end
together, with ranks = exact every clip comes once.

    ranks_test.py SHARDREEL WORK_FOLDER [UNITTEST ARGUMENTS]

Where torch has gloo, each batch is a step of a real process group: a rank that had one batch more than
the other would wait for it in vain, and the group's time limit would end the test.
"""

import glob
import json
import os
import subprocess
import sys
import unittest

import support
from support import SMALL, WORK

import shardreel

try:
    import torch.distributed
    GLOO = torch.distributed.is_available() and torch.distributed.is_gloo_available()
except ImportError:
    GLOO = False

VIDEOS = 15
SAMPLES_A_SHARD = {1: 15, 2: 8, 3: 5, 5: 3}  # by number of shards
OPTIONS = {**SMALL, "width": 32, "height": 32, "num_frames": 4, "tensors": "dlpack"}
del OPTIONS["rank"], OPTIONS["world_size"]  # these come from the environment, as in a job
EPOCHS = 2

# One rank, which makes several runs; prints for each the clips of each batch of each epoch.
RANK = """
import datetime, json, sys
import shardreel
runs, epochs, step_together = json.loads(sys.argv[1])
if step_together:
    import torch.distributed
    torch.distributed.init_process_group("gloo", timeout=datetime.timedelta(seconds=60))
for shards, options in runs:
    with shardreel.Loader(shards, **options, epochs=epochs) as loader:
        seen = []
        for epoch in range(epochs):
            seen.append([])
            for batch in loader:
                seen[-1].append(batch.ids)
                if step_together:
                    ranks = torch.ones(1)
                    torch.distributed.all_reduce(ranks)
                    assert ranks.item() == torch.distributed.get_world_size(), ranks
        print(json.dumps(seen))
"""

patterns = {}


def setUpModule():
    clips = support.make_clips(VIDEOS)
    for count, samples in SAMPLES_A_SHARD.items():
        patterns[count] = support.pack(clips, os.path.join(WORK, f"shards-{count}"), samples)


def job(runs, step_together):
    """Make `runs`, pairs of shards and options, on two ranks; return for each run what each of them saw:
    [rank][epoch][batch][clip]."""
    argument = json.dumps([[(shards, {**OPTIONS, **options}) for shards, options in runs], EPOCHS, step_together])
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(support.free_port())}
    ranks = [subprocess.Popen([sys.executable, "-c", RANK, argument], text=True,
                              env={**os.environ, **place, "RANK": rank},
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) for rank in ("0", "1")]
    try:
        finished = [rank.communicate(timeout=240) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    for rank, (_, errors) in zip(ranks, finished):
        if rank.returncode != 0:
            raise AssertionError(f"a rank ended with {rank.returncode}:\n{errors}")
    return list(zip(*([json.loads(line) for line in out.splitlines()] for out, _ in finished)))


def flat(batches):
    return [tuple(clip) for batch in batches for clip in batch]


class RanksTest(unittest.TestCase):
    def test_the_sets_have_so_many_shards(self):
        for count, shards in patterns.items():
            self.assertTrue(shards.endswith("..%06d}.tar" % (count - 1)), shards)

    def test_equal_ranks_end_together(self):
        # About 200 clips, 26 batches of 4 for each of two ranks: fewer are asked for, and more.
        runs = [(shards, {"ranks": "equal", "batches_per_epoch": asked})
                for shards in patterns.values() for asked in (7, 40)]
        for (shards, options), ranks in zip(runs, job(runs, GLOO)):
            with self.subTest(shards=shards, **options):
                asked = options["batches_per_epoch"]
                for rank in ranks:
                    self.assertEqual([len(epoch) for epoch in rank], [asked] * EPOCHS)
                    self.assertEqual({len(batch) for epoch in rank for batch in epoch}, {4})
                if asked == 7:
                    for mine, others in zip(*ranks):
                        self.assertFalse(set(flat(mine)) & set(flat(others)))

    def test_equal_ranks_end_together_by_the_shards_indexes(self):
        clips, runs = support.make_clips(VIDEOS), []
        for count, samples in SAMPLES_A_SHARD.items():
            folder = os.path.join(WORK, f"indexed-{count}")
            # Eleven clips a batch: what is left over differs from set to set.
            runs.append((support.pack(clips, folder, samples), {"ranks": "equal", "batch_size": 11}))
            subprocess.run([support.SHARDREEL, "index", *glob.glob(os.path.join(folder, "*.tar"))],
                           check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for (shards, _), ranks in zip(runs, job(runs, GLOO)):
            with self.subTest(shards=shards):
                for mine, others in zip(*ranks):
                    self.assertEqual(len(mine), len(others))
                    self.assertGreater(len(mine), 5)
                    self.assertFalse(set(flat(mine)) & set(flat(others)))

    def test_equal_ranks_say_what_they_need(self):
        with self.assertRaisesRegex(shardreel.OptionError, "batches_per_epoch"):
            shardreel.Loader(patterns[2], **OPTIONS, ranks="equal", rank=0, world_size=2).open()

    def test_exact_ranks_share_all_clips(self):
        runs = [(shards, {"ranks": "exact", "drop_last": False}) for shards in patterns.values()]
        for (shards, _), ranks in zip(runs, job(runs, False)):
            with self.subTest(shards=shards):
                with shardreel.Loader(shards, **OPTIONS, rank=0, world_size=1, drop_last=False) as alone:
                    everything = sorted(clip[1:] for clip in flat(batch.ids for batch in alone))
                self.assertGreater(len(everything), VIDEOS * 11)
                for epoch in range(EPOCHS):
                    shares = [clip[1:] for rank in ranks for clip in flat(rank[epoch])]
                    self.assertEqual(sorted(shares), everything)


if __name__ == "__main__":
    if not GLOO:
        print("torch's gloo cannot be imported: plain processes, whose numbers of batches are compared")
    support.main()
