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

    def test_it_may_be_closed_while_a_thread_waits(self):
        out, _ = self.finish(python(
            "import threading\n"
            "for _ in range(30):\n"
            "  loader = shardreel.Loader('pipe:sleep 1000', **SMALL).open()\n"
            "  def take():\n"
            "    try:\n      loader.next()\n"
            "    except shardreel.ShardreelError as error:\n      print(error.code)\n"
            "  thread = threading.Thread(target=take)\n"
            "  thread.start()\n"
            "  loader.close()\n"
            "  thread.join()\n"))
        self.assertEqual(out, "stopped\n" * 30)

    def test_the_handler_of_a_signal_may_close_it(self):
        out, _ = self.finish(python(
            "import signal\n"
            "loader = shardreel.Loader('pipe:sleep 1000', **SMALL).open()\n"
            "signal.signal(signal.SIGALRM, lambda *_: loader.close())\n"
            "signal.setitimer(signal.ITIMER_REAL, 0.3)\n"
            "try:\n  loader.next()\n"
            "except shardreel.ShardreelError as error:\n  print(error.code)\n"))
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

    # Log lines at which a handler raises. The rank is said while the loader is opened; an index that is
    # none is noticed by a thread that reads.
    HANDLER = """
import logging, signal, os, sys, threading, traceback
seen, opened = threading.Event(), threading.Event()
class Raises(logging.Handler):
    def emit(self, record):
        if self.when in record.getMessage():
            if 'index' in self.when:  # no shard is read before that
                opened.wait(20)
            seen.set()
            self.act()
handler = Raises()
logging.getLogger('shardreel').addHandler(handler)
logging.getLogger('shardreel').setLevel(logging.INFO)
def fail(error):
    raise error
def caught(doing):
    try:
        doing()
    except BaseException as error:
        context = type(error.__context__).__name__
        where = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        print(type(error).__name__, error, context, 'emit' in where, flush=True)
        return
    print('nothing', flush=True)
def bad_index():
    shards = os.path.dirname(SHARDS) + '/bad_index'
    os.makedirs(shards, exist_ok=True)
    for name in ('shard-000000.tar', 'shard-000001.tar'):
        link = os.path.join(shards, name)
        if not os.path.exists(link):
            os.symlink(os.path.join(os.path.dirname(SHARDS), name), link)
        open(link + '.sridx', 'wb').write(b'no index')
    return shards + '/shard-{000000..000001}.tar'
"""

    def callback(self, code):
        out, errors = self.finish(python(self.HANDLER + code))
        self.assertNotIn("ignored", errors)
        return out.splitlines()

    def test_what_a_log_callback_raises_while_opening_reaches_the_caller(self):
        for error in ("KeyboardInterrupt", "ValueError"):
            self.assertEqual(self.callback(
                f"handler.when, handler.act = 'rank 0 of 1', lambda: fail({error}('here'))\n"
                "loader = shardreel.Loader(SHARDS, **SMALL)\n"
                "caught(loader.open)\n"
                "handler.act = lambda: None\n"
                "print(sum(1 for _ in loader) > 3)\n"),  # once only
                [f"{error} here NoneType True", "True"])

    def test_an_interrupt_while_a_callback_runs_ends_a_loop_of_short_loaders(self):
        self.assertEqual(self.callback(
            "handler.when, handler.act = 'rank 0 of 1', lambda: os.kill(os.getpid(), signal.SIGINT)\n"
            "def loop():\n"
            "  for _ in range(20):\n"
            "    for batch in shardreel.Loader(SHARDS, **SMALL):\n      pass\n"
            "try:\n  loop()\nexcept KeyboardInterrupt:\n  print('interrupted')\n"), ["interrupted"])

    def test_what_is_raised_in_a_reading_thread_comes_with_the_next_call_once(self):
        for error in ("KeyboardInterrupt", "ValueError"):
            self.assertEqual(self.callback(
                "done = []\n"
                "def act():\n"
                f"  if not done:\n    done.append(1)\n    fail({error}('here'))\n"
                "handler.when, handler.act = 'index of', act\n"
                "loader = shardreel.Loader(bad_index(), **SMALL).open()\n"
                "opened.set()\n"
                "seen.wait(20)\n"
                "caught(loader.next)\n"
                "print(sum(1 for _ in loader) == sum(1 for _ in shardreel.Loader(bad_index(), **SMALL)))\n"
                "loader.close()\n"), [f"{error} here NoneType True", "True"])

    def test_an_interrupt_comes_before_other_errors_which_are_its_context(self):
        self.assertEqual(self.callback(
            "errors = [KeyboardInterrupt('second'), ValueError('first')]\n"
            "both = threading.Event()\n"
            "def act():\n"
            "  if errors:\n    error = errors.pop()\n    errors or both.set()\n    raise error\n"
            "handler.when, handler.act = 'index of', act\n"
            "loader = shardreel.Loader(bad_index(), **SMALL).open()\n"
                "opened.set()\n"
            "both.wait(20)\n"
            "caught(loader.close)\n"
            "caught(loader.close)\n"), ["KeyboardInterrupt second ValueError True", "nothing"])

    def test_an_interrupt_outlives_a_loader_that_is_dropped(self):
        self.assertEqual(self.callback(
            "errors = [KeyboardInterrupt('here')]\n"
            "handler.when, handler.act = 'index of', lambda: errors and fail(errors.pop())\n"
            "loader = shardreel.Loader(bad_index(), **SMALL).open()\n"
                "opened.set()\n"
            "seen.wait(20)\n"
            "def drop():\n"
            "  global loader\n"
            "  loader = None\n"
            "  for _ in range(1000000): pass\n"
            "caught(drop)\n"), ["KeyboardInterrupt here NoneType True"])

    def test_opening_that_fails_keeps_both_reasons(self):
        self.assertEqual(self.callback(
            "handler.when, handler.act = 'rank 0 of 1', lambda: fail(KeyboardInterrupt('here'))\n"
            "caught(shardreel.Loader(SHARDS, **dict(SMALL, memory_bytes='1MiB')).open)\n"
            "caught(shardreel.Loader(SHARDS, **SMALL).open)\n")[1:], ["KeyboardInterrupt here NoneType True"])

    def test_opening_is_interrupted_in_its_middle(self):
        subprocess.run([support.SHARDREEL, "index", SHARDS], check=True, stdout=subprocess.DEVNULL)
        try:
            process = python(
                "import time\nprint('opening', flush=True)\n"
                "SMALL.update(world_size=2, ranks='equal')\n"
                "try:\n  shardreel.Loader([SHARDS] * 200000, **SMALL).open()\n"
                "except KeyboardInterrupt:\n  print(time.monotonic())\n")
            self.assertEqual(process.stdout.readline(), "opening\n")
            with self.assertRaises(subprocess.TimeoutExpired):
                process.wait(timeout=2)  # many indexes: it is in the middle of them
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            out, _ = self.finish(process)
            self.assertLess(float(out) - began, 10)  # reading all of them takes minutes
        finally:
            for name in os.listdir(os.path.dirname(SHARDS)):
                if name.endswith(".sridx"):
                    os.remove(os.path.join(os.path.dirname(SHARDS), name))

    def losses(self, expected, urls, **options):
        """Run two epochs; the losses that are logged of each must be `expected`, as patterns."""
        clips = shardreel.Loader(urls, **{**SMALL, "tensors": "dlpack", "max_skip_ratio": 0.5, "epochs": 2,
                                          "shuffle": "none", "drop_last": False, **options})
        with clips, self.assertLogs("shardreel", "WARNING") as logs:
            for _ in range(2):
                while clips.next() is not None:
                    pass
            metrics = clips.metrics()
        for epoch in range(2):
            said = [record.getMessage() for record in logs.records
                    if record.getMessage().startswith(f"epoch {epoch}") and record.levelname == "WARNING"]
            self.assertEqual(len(said), len(expected), said)
            for line, pattern in zip(said, expected):
                self.assertRegex(line, f"^epoch {epoch}{pattern}")
        return metrics

    def test_losses_are_logged_where_they_do_not_end_the_run(self):
        def spoil(name, content):
            spoils = not name.endswith((".json", ".cls")) and name in spoiled
            yield name, b"no video" * 100 if spoils else content

        spoiled = set()
        def note(name, content):
            spoiled.add(name)
            yield name, content
        support.copy_shard(1, "noted.tar", note)
        first = sorted(spoiled)[0].partition(".")[0]
        spoiled = {name for name in spoiled if name.startswith(first)}
        shard = SHARDS.replace("{000000..000003}", "000000")
        metrics = self.losses(
            [f": a sample is lost: .*one.tar, key {first}",
             " lost 1 of 8 samples, 0 clips and 0 of 2 shards; 1 sample .*one.tar"],
            [support.copy_shard(1, "one.tar", spoil), shard])
        self.assertEqual(metrics["samples_skipped"], 2)
        self.losses([": a shard is lost: .*no-such.tar",
                     " lost 0 of 4 samples, 0 clips and 1 of 2 shards; .*no-such.tar"],
                    [shard, "no-such.tar"])

    def test_of_many_lost_samples_the_first_are_logged(self):
        def spoil(name, content):
            yield name, content if name.endswith((".json", ".cls")) else b"no video" * 100
        shards = [support.copy_shard(number, f"all{number}.tar", spoil) for number in range(2)]
        self.losses([*[": a sample is lost: .*all[01].tar, key "] * 5,
                     " lost 8 of 16 samples, 0 clips and 0 of 4 shards; 8 samples "],
                    [*shards, *(SHARDS.replace("{000000..000003}", f"{number:06}") for number in (2, 3))])

    def test_an_epoch_without_losses_logs_none(self):
        with shardreel.Loader(SHARDS, tensors="dlpack", **SMALL) as clips:
            with self.assertRaisesRegex(AssertionError, "no logs"), self.assertLogs("shardreel", "WARNING"):
                for _ in clips:
                    pass

    def test_closed_it_keeps_no_memory_of_batches_that_were_held(self):
        out, _ = self.finish(python(
            "import gc\n"
            "def anonymous():\n"
            "  with open('/proc/self/smaps_rollup') as file:\n"
            "    return next(int(line.split()[1]) >> 10 for line in file if line.startswith('Pss_Anon:'))\n"
            "SMALL.update(num_frames=16, width=224, height=224, memory_bytes='1GiB', epochs=0)\n"
            "before = anonymous()\n"
            "loader = shardreel.Loader(SHARDS, **SMALL)\n"
            "held = [loader.next() for _ in range(40)]\n"
            "print(anonymous() - before)\n"
            "del held\n"
            "loader.close()\n"
            "gc.collect()\n"
            "print(anonymous() - before)\n"))
        held, kept = map(int, out.split())
        self.assertGreater(held, 350)  # MiB: 40 batches of 9.2
        self.assertLess(kept, 60)

    def test_it_logs_through_logging(self):
        _, errors = self.finish(python(
            "import logging\nlogging.basicConfig(level=logging.INFO)\n"
            "shardreel.Loader(SHARDS, **SMALL).next()\n"))
        self.assertIn("INFO:shardreel:rank 0 of 1", errors)


if __name__ == "__main__":
    support.main()
