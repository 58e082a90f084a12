#!/usr/bin/python3
"""Ranks on few and on odd numbers of shards: with ranks = equal they take equally many steps and end
together, with ranks = exact every clip comes once.

    ranks_test.py SHARDREEL WORK_FOLDER [UNITTEST ARGUMENTS]

Where torch has gloo, each batch is a step of a real process group: a rank that had one batch more than
the other would wait for it in vain, and the group's time limit would end the test.
"""

import glob
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
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

# One rank, which makes several runs; prints for each the clips of each batch of each epoch. Where ranks end
# at different times ("until_all_end"), each says before every step whether it has a batch.
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
            if step_together == "until_all_end":
                batches, more = iter(loader), torch.ones(1)
                while more.item():
                    batch = next(batches, None)
                    more = torch.tensor([0.0 if batch is None else 1.0])
                    torch.distributed.all_reduce(more)
                    if batch is not None:
                        seen[-1].append(batch.ids)
                continue
            for batch in loader:
                seen[-1].append(batch.ids)
                if step_together:
                    ranks = torch.ones(1)
                    torch.distributed.all_reduce(ranks)
                    assert ranks.item() == torch.distributed.get_world_size(), ranks
        print(json.dumps(seen))
"""

UNEVEN = [1, 3, 7]  # samples of three shards: less than a batch for some ranks, nothing for others

patterns = {}


def setUpModule():
    clips = support.make_clips(VIDEOS)
    for count, samples in SAMPLES_A_SHARD.items():
        patterns[count] = support.pack(clips, os.path.join(WORK, f"shards-{count}"), samples)


def uneven_shards():
    """Three shards of so many samples of one window each."""
    videos = glob.glob(os.path.join(support.make_clips(VIDEOS), "**", "*.mp4"), recursive=True)
    with open(sorted(videos)[0], "rb") as file:
        video = file.read()
    for number, samples in enumerate(UNEVEN):
        with tarfile.open(os.path.join(WORK, f"uneven-{number}.tar"), "w") as tar:
            for sample in range(samples):
                info = tarfile.TarInfo(f"s{number}_{sample}.mp4")
                info.size = len(video)
                tar.addfile(info, io.BytesIO(video))
    return os.path.join(WORK, "uneven-{0..2}.tar")


def job(runs, step_together, world=2):
    """Make `runs`, pairs of shards and options, on some ranks; return for each run what each of them saw:
    [rank][epoch][batch][clip]."""
    argument = json.dumps([[(shards, {**OPTIONS, **options}) for shards, options in runs], EPOCHS, step_together])
    place = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(support.free_port())}
    ranks = [subprocess.Popen([sys.executable, "-c", RANK, argument], text=True,
                              env={**os.environ, **place, "RANK": rank},
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) for rank in map(str, range(world))]
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

    def check_exact(self, world, together):
        runs = [(uneven_shards(), {"ranks": "exact", "windows_per_video": 1, **more})
                for more in ({}, {"shuffle": "none"}, {"shuffle_domain": "packets"})]
        for (_, options), ranks in zip(runs, job(runs, together, world)):
            with self.subTest(world=world, **options):
                for epoch in range(EPOCHS):
                    samples = sorted(tuple(clip[1:3]) for rank in ranks for clip in flat(rank[epoch]))
                    self.assertEqual(samples, [(s, k) for s, count in enumerate(UNEVEN) for k in range(count)])
                    for rank in ranks:
                        self.assertTrue(all(len(batch) == 4 for batch in rank[epoch][:-1]))

    def test_exact_ranks_with_less_than_a_batch_end_well(self):
        for world in (2, 3, 4, 5, 8):  # of eight ranks, one has nothing
            self.check_exact(world, False)

    @unittest.skipUnless(GLOO, "SKIPPED: torch with gloo cannot be imported")
    def test_exact_ranks_step_together_in_a_process_group(self):
        self.check_exact(2, "until_all_end")
        self.check_exact(3, "until_all_end")

    def test_equal_ranks_over_uneven_shards_take_as_many_steps(self):
        for world in (2, 3, 4, 5):
            runs = [(uneven_shards(), {"ranks": "equal", "windows_per_video": 1, "batches_per_epoch": 3})]
            for ranks in job(runs, GLOO, world):
                for rank in ranks:
                    self.assertEqual([[len(batch) for batch in epoch] for epoch in rank], [[4] * 3] * EPOCHS)

    def test_a_rank_that_must_fail_says_so_before_its_first_batch(self):
        broken = os.path.join(WORK, "broken.tar")
        with open(broken, "wb") as file:
            file.write(b"no archive" * 1000)
        good = os.path.join(WORK, "uneven-2.tar")
        uneven_shards()
        options = {**OPTIONS, "ranks": "equal", "batches_per_epoch": 2, "shuffle": "none", "windows_per_video": 1,
                   "world_size": 2, "max_skip_ratio": 1}
        with shardreel.Loader([good, broken], **options, rank=0) as fine:
            self.assertEqual(len(list(fine)), 2)
        with shardreel.Loader([good, broken], **options, rank=1) as failing:
            with self.assertRaisesRegex(shardreel.DataError, "rank 1 of 2.*broken.tar.*other ranks wait"):
                failing.next()

    def test_equal_ranks_are_refused_together_where_indexes_tell_that_one_has_nothing(self):
        folder, shards = os.path.join(WORK, "one-empty"), uneven_shards()
        os.makedirs(folder, exist_ok=True)
        with tarfile.open(os.path.join(folder, "b.tar"), "w") as tar:
            info = tarfile.TarInfo("only.txt")
            info.size = 2
            tar.addfile(info, io.BytesIO(b"no"))
        shutil.copy(shards.replace("{0..2}", "2"), os.path.join(folder, "a.tar"))
        urls = [os.path.join(folder, name) for name in ("a.tar", "b.tar")]
        subprocess.run([support.SHARDREEL, "index", *urls], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        for rank in (0, 1):
            with self.assertRaisesRegex(shardreel.DataError, "rank [01] of 2 has no clips in epoch 0"):
                shardreel.Loader(urls, **OPTIONS, ranks="equal", rank=rank, world_size=2).open()

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
