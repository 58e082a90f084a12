#!/usr/bin/python3
"""The loader among processes: interrupts, forks, ranks, the end of the interpreter, logging.

    process_test.py SHARDREEL WORK_FOLDER [UNITTEST ARGUMENTS]
"""

import os
import signal
import subprocess
import sys
import time
import unittest

import support
from support import SHARDS, SMALL

import shardreel


def setUpModule():
    support.make_shards()


def python(code, **more):
    """Run a script with SHARDS and SMALL defined."""
    head = f"import shardreel\nSHARDS, SMALL = {SHARDS!r}, {dict(SMALL, tensors='dlpack')!r}\n"
    return subprocess.Popen([sys.executable, "-c", head + code], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, **more)


class ProcessTest(unittest.TestCase):
    def finish(self, process, status=0, seconds=60):
        out, errors = process.communicate(timeout=seconds)
        self.assertEqual(process.returncode, status, errors)
        return out, errors

    def test_a_waiting_loader_is_interrupted_within_a_second(self):
        process = python("import time\nloader = shardreel.Loader('pipe:sleep 1000', **SMALL).open()\n"
                         "try:\n  print('waiting', flush=True)\n  loader.next()\n"
                         "except KeyboardInterrupt:\n  print(time.monotonic())\n")
        self.assertEqual(process.stdout.readline(), "waiting\n")
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, _ = self.finish(process)
        self.assertLess(float(out) - began, 1)
        self.assertLess(time.monotonic() - began, 10)  # the end of a busy interpreter, too

    def test_another_thread_may_stop_a_waiting_loader(self):
        out, _ = self.finish(python(
            "import threading\nloader = shardreel.Loader('pipe:sleep 1000', **SMALL).open()\n"
            "threading.Timer(0.2, loader.stop).start()\n"
            "try:\n  loader.next()\nexcept shardreel.StoppedError as error:\n  print(error.code)\n"))
        self.assertEqual(out, "stopped\n")

    def test_python_threads_run_while_it_waits(self):
        out, _ = self.finish(python(
            "import threading\nloader = shardreel.Loader('pipe:sleep 1000', **SMALL).open()\n"
            "ran = threading.Event()\n"
            "threading.Thread(target=lambda: (ran.set(), loader.stop())).start()\n"
            "try:\n  loader.next()\nexcept shardreel.StoppedError:\n  print(ran.is_set())\n"))
        self.assertEqual(out, "True\n")

    def test_after_a_fork_it_refuses_and_says_what_to_do(self):
        out, _ = self.finish(python(
            "import os, sys\nloader = shardreel.Loader(SHARDS, **SMALL)\nfirst = loader.next()\n"
            "child = os.fork()\n"
            "if child == 0:\n"
            "  try:\n    loader.next()\n"
            "  except shardreel.ShardreelError as error:\n    print(error, flush=True)\n"
            "  del loader\n  sys.exit(0)\n"
            "print(os.waitpid(child, 0)[1], sum(1 for _ in loader) > 3)\n"))
        self.assertIn("fork", out)
        self.assertIn("0 True", out)

    def test_ranks_come_from_the_environment_and_share_the_clips(self):
        code = ("loader = shardreel.Loader(SHARDS, **SMALL, ranks='exact', drop_last=False)\n"
                "print(loader.rank_source)\n"
                "print(sorted(tuple(clip) for batch in loader for clip in batch.ids))\n")
        code = "SMALL.pop('rank'); SMALL.pop('world_size')\n" + code
        clips = []
        for rank in range(2):
            out, _ = self.finish(python(code, env=dict(os.environ, RANK=str(rank), WORLD_SIZE="2")))
            source, listed = out.splitlines()
            self.assertIn(f"rank {rank} of 2", source)
            clips.append(eval(listed))  # pylint: disable=eval-used
        alone = shardreel.Loader(SHARDS, tensors="dlpack", drop_last=False, **SMALL)
        everything = sorted(tuple(clip) for batch in alone for clip in batch.ids)
        alone.close()
        self.assertEqual(sorted(clips[0] + clips[1]), everything)
        self.assertFalse(set(clips[0]) & set(clips[1]))

    def test_an_interpreter_that_ends_in_the_middle_ends_well(self):
        for ending in ("", "raise SystemExit(0)\n", "del loader\n"):
            self.finish(python("loader = shardreel.Loader(SHARDS, **SMALL, epochs=0)\n"
                               "batch = loader.next()\nkept = batch['video']\n" + ending))

    def test_it_logs_through_logging(self):
        _, errors = self.finish(python(
            "import logging\nlogging.basicConfig(level=logging.INFO)\n"
            "shardreel.Loader(SHARDS, **SMALL).next()\n"))
        self.assertIn("INFO:shardreel:rank 0 of 1", errors)


if __name__ == "__main__":
    support.main()
