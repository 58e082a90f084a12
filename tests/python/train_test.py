#!/usr/bin/python3
"""tools/train_example.py on a tiny set: it learns, the same way each time, also as two ranks.

    train_test.py SHARDREEL WORK_FOLDER [UNITTEST ARGUMENTS]

With SHARDREEL_FULL_TESTS also on the set of tools/quickstart.sh: it tells motions of clips that it has
not seen, and cannot when frames are out of order, clips not whole, or labels not with their clips.
"""

import argparse
import os
import re
import subprocess
import sys
import unittest

import support
from support import ROOT, SHARDS

try:
    import torch
except ImportError as missing:
    print(f"SKIPPED: torch cannot be imported: {missing}")
    sys.exit(77)

sys.path.insert(0, os.path.join(ROOT, "tools"))
import train_example  # noqa: E402

EXAMPLE = os.path.join(ROOT, "tools", "train_example.py")
LINE = re.compile(r"epoch (\d+): loss ([\d.]+), accuracy ([\d.]+)% of (\d+) clips; held out ([\d.]+)% of (\d+)")


def setUpModule():
    support.make_shards()
    torch.manual_seed(0)


class ExampleTest(unittest.TestCase):
    def start(self, *arguments, **environment):
        return subprocess.Popen(
            [sys.executable, EXAMPLE, SHARDS, SHARDS, "--epochs", "3", "--batches-per-epoch", "8", *arguments],
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "", **environment}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def finish(self, process, status=0):
        try:
            out, errors = process.communicate(timeout=240)
        finally:
            process.kill()
        self.assertEqual(process.returncode, status, errors)
        return [tuple(map(float, found)) for found in LINE.findall(out)], out

    def test_killed_and_resumed_it_has_the_same_losses(self):
        path = os.path.join(support.WORK, "checkpoint.pt")
        if os.path.exists(path):
            os.remove(path)
        epochs, _ = self.finish(self.start())
        killed = self.start("--checkpoint", path)
        first = LINE.search(killed.stdout.readline())
        # Somewhere in the second epoch, or later: wherever that is, the rest must be the same.
        killed.kill()
        killed.communicate()
        self.assertEqual(tuple(map(float, first.groups())), epochs[0])
        resumed, out = self.finish(self.start("--checkpoint", path))
        self.assertTrue(resumed, out)
        self.assertEqual(resumed, epochs[-len(resumed):])

    def test_the_loss_falls_and_is_the_same_each_time(self):
        runs = [self.start(), self.start()]
        (epochs, out), (again, _) = self.finish(runs[0]), self.finish(runs[1])
        self.assertEqual(epochs, again)
        self.assertEqual([line[0] for line in epochs], [0, 1, 2], out)
        self.assertLess(epochs[0][1], 3)  # ln 8 = 2.08 is chance; not a number fails, too
        self.assertLess(epochs[2][1], 0.9 * epochs[0][1])
        self.assertEqual({line[3] for line in epochs}, {8 * 16})
        self.assertIn("Held-out accuracy", out)

    def test_two_ranks_end_together_and_say_what_both_saw(self):
        place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(support.free_port())}
        ranks = [self.start(**place, RANK=rank) for rank in ("0", "1")]
        try:
            epochs, _ = self.finish(ranks[0])
            self.assertEqual(self.finish(ranks[1])[1], "")
        finally:
            ranks[1].kill()
        alone, _ = self.finish(self.start("--epochs", "1"))
        self.assertEqual([line[3] for line in epochs], [8 * 16] * 3)
        self.assertEqual({line[5] for line in epochs}, {alone[0][5]})
        self.assertLess(epochs[2][1], 0.95 * epochs[0][1])

    def test_an_accuracy_that_is_missed_is_a_failure(self):
        self.finish(self.start("--epochs", "1", "--batches-per-epoch", "1", "--min-accuracy", "1.01"), status=1)


def frames_mixed(clips, labels):
    order = torch.rand(clips.shape[:2]).argsort(1)
    return clips[torch.arange(len(clips))[:, None], order], labels


def frames_of_two(clips, labels):
    """Every second frame from another clip, as if windows were not whole."""
    others = clips.roll(1, 0)
    return torch.where((torch.arange(clips.shape[1]) % 2 == 0).view(1, -1, 1, 1, 1), clips, others), labels


def labels_elsewhere(clips, labels):
    return clips, labels[torch.randperm(len(labels))]


@unittest.skipUnless(os.environ.get("SHARDREEL_FULL_TESTS"), "SKIPPED: only with SHARDREEL_FULL_TESTS")
class ProofTest(unittest.TestCase):
    """That the example learns says something about the loader only if it fails where a loader fails."""

    def heldout_accuracy(self, spoil):
        options = argparse.Namespace(train=self.train, heldout=self.heldout, epochs=5, seed=0, batch_size=16,
                                     batches_per_epoch=26)
        torch.manual_seed(0)
        device = torch.device("cpu")
        network = train_example.MotionNet()
        optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)

        def spoiled(batches):
            for batch in batches:
                clips, labels = spoil(batch["video"], batch["cls"])
                yield {"video": clips, "cls": labels}

        training, heldout = train_example.make_loaders(options, 1)
        with training, heldout:
            for _ in range(options.epochs):
                train_example.train_epoch(network, optimizer, spoiled(training), device)
                accuracy, _ = train_example.evaluate(network, spoiled(heldout), device)
        print(f"held out, {spoil.__name__}: {accuracy:.1%}", flush=True)
        return accuracy

    def test_it_learns_from_good_clips_only(self):
        clips = support.make_clips(64)
        self.train = support.pack(os.path.join(clips, "train"), os.path.join(support.WORK, "train"), 13)
        self.heldout = support.pack(os.path.join(clips, "heldout"), os.path.join(support.WORK, "heldout"), 13)

        def untouched(clips, labels):
            return clips, labels

        self.assertGreater(self.heldout_accuracy(untouched), 0.9)
        for spoil in (frames_mixed, frames_of_two, labels_elsewhere):
            self.assertLess(self.heldout_accuracy(spoil), 0.6, spoil.__name__)


class MirrorTest(unittest.TestCase):
    def test_the_label_follows_the_mirror(self):
        # A dot that goes right, and one that goes down, in every clip.
        for label, (row, column) in ((train_example.RIGHT, (0, 1)), (train_example.DOWN, (1, 0))):
            clips = torch.zeros(64, 16, 48, 48, 1, dtype=torch.uint8)
            for frame in range(16):
                clips[:, frame, 10 + row * frame, 10 + column * frame] = 255
            mirrored, labels = train_example.mirror_some(clips, torch.full((64,), label))
            spots = mirrored[..., 0].flatten(2).argmax(2)
            rows, columns = spots // 48, spots % 48
            down, right = rows[:, 1] - rows[:, 0], columns[:, 1] - columns[:, 0]
            names = {(0, 1): train_example.RIGHT, (0, -1): train_example.LEFT,
                     (1, 0): train_example.DOWN, (-1, 0): train_example.UP}
            seen = [names[pair] for pair in zip(down.tolist(), right.tolist())]
            self.assertEqual(seen, labels.tolist())
            self.assertEqual(len(set(seen)), 2)

    def test_mirrors_undo_themselves(self):
        for swapped in (train_example.SIDES_SWAPPED, train_example.UPSIDE_DOWN):
            self.assertEqual(swapped[swapped].tolist(), list(range(8)))


if __name__ == "__main__":
    support.main()
