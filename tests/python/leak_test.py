#!/usr/bin/python3
"""Ten thousand batches whose tensors are kept, dropped and sent across threads: all memory comes back, and
the process does not grow.

    leak_test.py SHARDREEL WORK_FOLDER [UNITTEST ARGUMENTS]

A fifth of the batches unless SHARDREEL_FULL_TESTS is set.
"""

import collections
import ctypes
import gc
import os
import queue
import random
import subprocess
import sys
import tarfile
import threading
import unittest

import support

try:
    import numpy
    import torch
except ImportError as missing:
    print(f"SKIPPED: {missing}")
    sys.exit(77)

import shardreel

BATCHES = 10_000 if os.environ.get("SHARDREEL_FULL_TESTS") else 2000
SHARDS = os.path.join(support.WORK, "tiny.tar")
# Little to decode; kept batches go beyond held_batches, to pages of their own, in every round.
OPTIONS = {"num_frames": 2, "width": 32, "height": 32, "batch_size": 4, "memory_bytes": "32MiB",
           "shuffle_bytes": "1MiB", "min_fill": 10, "epochs": 0, "rank": 0, "world_size": 1}
PSS = 200  # samples of the process's size, evenly over the batches


def setUpModule():
    """Four videos of 300 tiny frames."""
    os.makedirs(support.WORK, exist_ok=True)
    with tarfile.open(SHARDS, "w") as archive:
        for number in range(4):
            video = os.path.join(support.WORK, f"v{number}.mp4")
            subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i",
                            f"testsrc=size=64x64:rate=25:duration=12,hue=h={60 * number}", "-g", "20",
                            "-pix_fmt", "yuv420p", "-c:v", "libx264", "-threads", "1", video], check=True)
            archive.add(video, f"v{number}.mp4")
            facts = os.path.join(support.WORK, f"v{number}.json")
            with open(facts, "w", encoding="ascii") as file:
                file.write('{"number": %d}' % number)
            archive.add(facts, f"v{number}.json")


def pss_bytes():
    """The anonymous part: that of libraries' files changes when other processes map them."""
    with open("/proc/self/smaps_rollup", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss_Anon:"))


class HeapUse(ctypes.Structure):
    """glibc's struct mallinfo2."""
    _fields_ = [(name, ctypes.c_size_t) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]


def heap_bytes():
    """Bytes that the C heap has given out."""
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = HeapUse
    use = mallinfo2()
    return use.uordblks + use.hblkhd


def checksum(tensor):
    return int(tensor[0, 0, 0, 0].sum())


class Receivers:
    """Threads that get tensors, some of which they keep for a while, and let them die there."""

    def __init__(self, count):
        self.sent = queue.Queue(maxsize=8)
        self.wrong = 0
        self.threads = [threading.Thread(target=self.run, args=(number,)) for number in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self, number):
        kept, chance = collections.deque(maxlen=3), random.Random(number)
        while (item := self.sent.get()) is not None:
            tensor, expected = item
            if chance.random() < 0.5:
                kept.append(item)
            for other, sum_of_other in (item, *kept):
                self.wrong += checksum(other) != sum_of_other
            del item, tensor, expected

    def end(self):
        for _ in self.threads:
            self.sent.put(None)
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive()


def slope_of(sizes):
    """Bytes a batch, by least squares over the second half; the first fills pools and caches."""
    at = numpy.linspace(0, BATCHES, len(sizes))[len(sizes) // 2:]
    return float(numpy.polyfit(at, numpy.array(sizes[len(sizes) // 2:], float), 1)[0])


class LeakTest(unittest.TestCase):
    def consume(self, tensors, hold=lambda batch: None):
        chance, kept, sizes = random.Random(0), collections.deque(maxlen=6), []
        receivers = Receivers(2)
        loader = shardreel.Loader(SHARDS, **OPTIONS, tensors=tensors)
        try:
            for number in range(BATCHES):
                batch = loader.next() or loader.next()
                video, expected = batch["video"], checksum(batch["video"])
                hold(batch)
                fate = chance.randrange(4)
                if fate == 0:
                    kept.append((video, expected))
                elif fate == 1:
                    receivers.sent.put((video, expected))
                elif fate == 2:
                    part = video[1:3]
                    kept.append((part, checksum(part)))
                    del part
                    batch["pts"], batch["json"], batch["frame_index"], list(batch)  # made and dropped
                self.assertTrue(all(checksum(tensor) == was for tensor, was in kept))
                if number % max(1, BATCHES // PSS) == 0:
                    sizes.append(pss_bytes())
        finally:
            receivers.end()
        self.assertEqual(receivers.wrong, 0)
        used = loader.metrics()["ledger"]
        self.assertGreater(used["batch"]["now"], 0)  # those that are kept
        self.assertGreater(used["held"]["peak"], 0)
        kept.clear()
        del batch, video
        gc.collect()
        loader.stop()
        for tag, use in loader.metrics()["ledger"].items():
            self.assertEqual(use["now"], 0, f"{tag} is not empty")
        slope = slope_of(sizes)
        print(f"{tensors}: {BATCHES} batches, PSS {sizes[len(sizes) // 2] / 2**20:.1f} MiB halfway, "
              f"{sizes[-1] / 2**20:.1f} at the end, slope {slope:.1f} bytes a batch", flush=True)
        return slope

    # A batch has 24,576 bytes of pixels. The kernel's figure wanders by a MiB or so, as decoders come and
    # go, which weighs more in a short run.
    MOST = 600 if BATCHES >= 10_000 else 4000

    def test_torch(self):
        self.assertLess(self.consume("torch"), self.MOST)

    def test_numpy(self):
        self.assertLess(self.consume("numpy"), self.MOST)

    def test_a_leak_would_be_noticed(self):
        leaked = []
        self.assertGreater(self.consume("numpy", lambda batch: leaked.append(bytearray(4 * self.MOST))), self.MOST)

    def test_capsules_that_nobody_takes(self):
        with shardreel.Loader(SHARDS, **OPTIONS, tensors="dlpack") as loader:
            tensor = loader.next()["video"]
            loader.stop()  # nobody else allocates now
            for number in range(11_000):
                tensor.__dlpack__()
                if number == 1000:
                    before = heap_bytes()
            # What one leaves behind, if it does, is at least its shape and strides: 80 bytes.
            self.assertLess(heap_bytes() - before, 10_000 * 40)
            self.assertEqual(loader.metrics()["ledger"]["batch"]["now"], 2 * 2 * 32 * 32 * 3 * 2)
            del tensor
            self.assertEqual(loader.metrics()["ledger"]["batch"]["now"], 0)


if __name__ == "__main__":
    support.main()
