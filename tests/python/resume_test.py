#!/usr/bin/python3
"""A loader that is stopped and resumed, also in another process and after SIGTERM.

    resume_test.py SHARDREEL WORK_FOLDER [UNITTEST ARGUMENTS]
"""

import json
import os
import random
import signal
import subprocess
import sys
import unittest

import support
from support import SHARDREEL, SHARDS, SMALL, WORK

import shardreel

ROUNDS = 40 if os.environ.get("SHARDREEL_FULL_TESTS") else 3
# A batch's ids and a digest of its bytes, one line each; SIGTERM and the end leave the state in a file.
WORKER = """
import ctypes, hashlib, json, math, signal, sys
import shardreel
options, state_file, most = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
loader = shardreel.Loader(tensors="dlpack", **options)
try:
    loader.load_state_dict(json.load(open(state_file)))
except FileNotFoundError:
    pass
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
given = 0
try:
    while not stopped and given != most and loader.epoch < options["epochs"]:
        batch = loader.next()
        if batch is None:
            continue
        given += 1
        video = batch["video"]
        pixels = ctypes.string_at(video.data_ptr, math.prod(video.shape))
        print(batch.ids, hashlib.sha256(pixels).hexdigest(), flush=True)
finally:
    with open(state_file, "w") as out:
        json.dump(loader.state_dict(), out)
sys.exit(143 if stopped else 0)
"""


def setUpModule():
    support.make_shards()


class ResumeTest(unittest.TestCase):
    def setUp(self):
        self.state = os.path.join(WORK, "state.json")
        if os.path.exists(self.state):
            os.remove(self.state)

    def start(self, options, most=-1):
        return subprocess.Popen([sys.executable, "-c", WORKER, json.dumps(options), self.state, str(most)],
                                stdout=subprocess.PIPE, text=True)

    def finish(self, process, status=0):
        out = process.stdout.read()  # not communicate: it leaves out what readline has buffered
        process.wait(timeout=120)
        self.assertEqual(process.returncode, status)
        return out.splitlines()

    def options(self, **more):
        return dict(SMALL, urls=[SHARDS], epochs=2, shuffle_bytes="8MiB", **more)

    def test_processes_that_follow_each_other_give_what_one_gives(self):
        seed = int(os.environ.get("SHARDREEL_TEST_SEED", random.randrange(1 << 31)))
        print(f"seed: SHARDREEL_TEST_SEED={seed}")
        draw = random.Random(seed)
        for _ in range(ROUNDS):
            options = self.options(shuffle_domain=draw.choice(["frames", "packets", "auto"]),
                                   window_stride=draw.choice([3, 8]), seed=draw.randrange(1000),
                                   windows_per_video=draw.choice(["all", 2]))
            with self.subTest(options=options):
                if os.path.exists(self.state):
                    os.remove(self.state)
                whole = self.finish(self.start(options))
                os.remove(self.state)
                parts = self.finish(self.start(options, draw.randrange(1, len(whole))))
                parts += self.finish(self.start(options, draw.randrange(1, 5)))
                parts += self.finish(self.start(options))
                self.assertEqual(parts, whole)

    def test_sigterm_leaves_the_state_of_the_last_batch(self):
        options = self.options(window_stride=2)
        whole = self.finish(self.start(options))
        os.remove(self.state)
        process = self.start(options)
        parts = [process.stdout.readline().rstrip("\n") for _ in range(5)]
        process.send_signal(signal.SIGTERM)
        parts += self.finish(process, 143)
        self.assertLess(len(parts), len(whole))
        parts += self.finish(self.start(options))
        self.assertEqual(parts, whole)

    def test_the_program_resumes_too(self):
        def feed(*arguments):
            lines = os.path.join(WORK, "clips.jsonl")
            subprocess.run([SHARDREEL, "feed", SHARDS, "--num-frames", "8", "--width", "64", "--height", "64",
                            "--shuffle-bytes", "4MiB", "--memory-bytes", "256MiB", "--min-fill", "10",
                            "--clips-out", lines, "--state-out", self.state, "--json", *arguments],
                           check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            with open(lines) as given:
                return given.readlines()
        whole = feed()
        parts = feed("--max-batches", "3")
        self.assertEqual(parts, whole[:24])
        self.assertEqual(parts + feed("--resume", self.state), whole)

    def test_a_state_of_other_options_is_refused(self):
        loader = shardreel.Loader(tensors="dlpack", **self.options())
        with loader:
            first = loader.next().ids
            state = loader.state_dict()
            second = loader.next().ids
            loader.load_state_dict(state)
            self.assertEqual(loader.next().ids, second)
            last = loader.state_dict()
        self.assertEqual(loader.state_dict(), last)  # closed, it still says where it stood
        self.assertNotEqual(first, second)
        other = shardreel.Loader(tensors="dlpack", **self.options(seed=5))
        with self.assertRaisesRegex(shardreel.OptionError, "seed was 0 and is 5"):
            other.load_state_dict(state)
        with other:
            self.assertIsNotNone(other.next())  # and it is as good as new


if __name__ == "__main__":
    support.main()
