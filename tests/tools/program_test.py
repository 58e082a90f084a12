#!/usr/bin/env python3
"""The program as its users meet it: exit statuses, what it prints, signals, files that cannot be written.

    program_test.py SHARDREEL WORK_FOLDER [UNITTEST ARGUMENTS]
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import unittest

SHARDREEL, WORK = sys.argv[1], sys.argv[2]
TOOL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools", "make_clips.py")
SHARDS = os.path.join(WORK, "shards", "shard-{000000..000003}.tar")
# Small and quick; every test that feeds begins with these.
SMALL = ["--width", "32", "--height", "32", "--num-frames", "8", "--memory-bytes", "512MiB", "--min-fill", "10"]

PROMISED = """clips batches frames samples samples_partial samples_skipped skipped_by_reason
clips_dropped_by_reason shards_failed seconds clips_per_second frames_per_second first_batch_seconds
consumer_wait_seconds peak_rss_bytes peak_pss_bytes ledger_peak_bytes resolved_options order_digest
pixel_digest lanes""".split()


def run(*arguments, env=None, stdout=subprocess.PIPE):
    finished = subprocess.run([SHARDREEL, *arguments], stdin=subprocess.DEVNULL, stdout=stdout,
                              stderr=subprocess.PIPE, timeout=120, check=False, env=env)
    finished.out = (finished.stdout or b"").decode()
    finished.err = finished.stderr.decode()
    return finished


def feed(*arguments, status=0, **more):
    finished = run("feed", *SMALL, *arguments, "--json", **more)
    assert finished.returncode == status, (arguments, finished.returncode, finished.err)
    return json.loads(finished.out)


def marked(mark, name=b""):
    """Processes that have `mark` in their environment, and run the program `name` if that is given."""
    found = []
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{process}/environ", "rb") as environ, open(f"/proc/{process}/comm", "rb") as comm:
                if mark.encode() in environ.read().split(b"\0") and name in comm.read():
                    found.append(process)
        except OSError:  # it ended meanwhile, or is another user's
            pass
    return found


def until(holds, seconds=10):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.01)


def setUpModule():
    os.makedirs(WORK, exist_ok=True)
    clips = os.path.join(WORK, "clips")
    subprocess.run([sys.executable, TOOL, clips, "--count", "16"], check=True)
    subprocess.run([SHARDREEL, "pack", clips, "--out", os.path.join(WORK, "shards"), "--shard-samples", "4",
                    "--overwrite"], check=True, stdout=subprocess.DEVNULL)


class UsageTest(unittest.TestCase):
    def test_versions(self):
        self.assertRegex(run("--version").out, r"^shardreel \d+\.\d+")
        versions = json.loads(run("--version", "--json").out)
        self.assertEqual(set(versions), {"shardreel", "ffmpeg", "libarchive", "zimg", "boost"})
        self.assertRegex(versions["boost"], r"^1\.\d+")

    def test_usage_is_2(self):
        for arguments in ([], ["dance"], ["feed", "--dance"], ["feed", "a.tar", "--num-frames", "0"],
                          ["feed"], ["feed", "a.tar", "--devices", "cuda:0"], ["pack"],
                          ["feed", "a.tar", "--config", "/no/such/file"],
                          ["plan", "a.tar", "--memory-bytes", "1MiB"], ["plan", "a.tar", "--width", "wide"],
                          ["feed", "a.tar", "--memory-bytes", "1MiB"]):
            finished = run(*arguments)
            self.assertEqual(finished.returncode, 2, (arguments, finished.err))
            self.assertTrue(finished.err, arguments)
            self.assertEqual(finished.out, "", arguments)

    def test_help_lists_every_option(self):
        text = run("feed", "--help").out
        for name in ("--num-frames", "--batches-per-epoch", "--clips-out", "--max-batches", "--config"):
            self.assertIn(name, text)

    def test_all_problems_at_once(self):
        err = run("feed", "a.tar", "--num-frames", "0", "--width", "0", "--min-fill", "0").err
        for name in ("num_frames", "width", "min_fill"):
            self.assertIn(name, err)


class PlanTest(unittest.TestCase):
    def test_table_and_json(self):
        table = run("plan", SHARDS, "--memory-bytes", "1GiB")
        self.assertEqual(table.returncode, 0, table.err)
        self.assertIn("shuffle", table.out)
        plan = json.loads(run("plan", SHARDS, "--memory-bytes", "1GiB", "--json").out)
        self.assertEqual(plan["memory_bytes"], 1 << 30)

    def test_a_gpu_is_planned_for_where_there_is_none(self):
        asked = ["plan", SHARDS, *SMALL, "--devices", "cuda:0", "--decode", "cuda", "--decode-threads", "2"]
        table = run(*asked, "--assume-video", "1920x1080:h264")
        self.assertEqual(table.returncode, 0, table.err)
        # 21 surfaces to decode into and as many to read from, of 1920x1088, and 64 MiB: 189.5 MiB.
        self.assertRegex(table.out, r"decoders +379\.0 MiB  2 decode threads x 189\.5 MiB")
        self.assertIn("decoder sessions: assumed: 1920x1080 h264", table.out)
        for wrong in ("1920:h264", "1920x1080:h265", "0x1080:h264", "1920x1080"):
            refused = run(*asked, "--assume-video", wrong)
            self.assertEqual(refused.returncode, 2, wrong)
            self.assertIn("h264", refused.err)

    def test_the_figure_that_would_do_does(self):
        refused = run("plan", SHARDS, "--memory-bytes", "1MiB")
        self.assertEqual(refused.returncode, 2)
        self.assertRegex(refused.err, r"\d")


class IndexTest(unittest.TestCase):
    """With indexes the same clips are delivered, and how many is known before."""

    @classmethod
    def setUpClass(cls):
        cls.index = ["--index-dir", os.path.join(WORK, "index")]
        cls.without = ["--index-dir", os.path.join(WORK, "nothing")]
        made = run("index", SHARDS, *cls.index)
        assert made.returncode == 0, made.err

    def test_digests_are_the_same(self):
        for more in ([], ["--windows-per-video", "1"], ["--fps", "10", "--shuffle", "none"]):
            plain, indexed = feed(SHARDS, *more, *self.without), feed(SHARDS, *more, *self.index)
            for name in ("clips", "samples", "order_digest", "pixel_digest"):
                self.assertEqual(plain[name], indexed[name], (name, more))

    def test_plan_says_what_feed_delivers(self):
        for more in ([], ["--batch-size", "5"], ["--drop-last", "false"], ["--windows-per-video", "2"]):
            plan = json.loads(run("plan", SHARDS, *SMALL, *more, *self.index, "--json").out)
            report = feed(SHARDS, *more, *self.index)
            self.assertEqual((plan["epoch_clips"], plan["epoch_batches"]), (report["clips"], report["batches"]), more)
            table = run("plan", SHARDS, *SMALL, *more, *self.index).out
            self.assertIn(f"{report['clips']} clips in {report['batches']} batches", table)
        unknown = run("plan", SHARDS, *SMALL, *self.without)
        self.assertIn("has no index", unknown.out)
        self.assertIsNone(json.loads(run("plan", SHARDS, *SMALL, *self.without, "--json").out)["epoch_clips"])

    def test_equal_ranks(self):
        ranks = [["--rank", str(rank), "--world-size", "3"] for rank in range(3)]
        self.assertEqual(len({feed(SHARDS, *rank, *self.index)["batches"] for rank in ranks}), 1)
        refused = run("feed", SHARDS, *ranks[0], *self.without)
        self.assertEqual(refused.returncode, 2)
        self.assertIn("batches_per_epoch", refused.err)


class FeedTest(unittest.TestCase):
    def test_report(self):
        report = feed(SHARDS)
        for name in PROMISED:
            self.assertIn(name, report)
        self.assertGreater(report["clips"], 0)
        self.assertEqual(report["samples"], 16)
        self.assertEqual(report["frames"], 8 * report["clips"])
        self.assertEqual(report["resolved_options"]["num_frames"], 8)
        self.assertEqual(report["resolved_options"]["world_size"], 1)
        self.assertNotIn("error", report)
        text = run("feed", *SMALL, SHARDS)
        self.assertIn(f"{report['clips']} clips", text.out)
        self.assertIn(report["order_digest"], text.out)

    def test_digests_follow_order_and_pixels(self):
        first = feed(SHARDS)
        for more in (["--decode-threads", "1"], ["--reader-threads", "4"]):
            again = feed(SHARDS, *more)
            self.assertEqual((again["order_digest"], again["pixel_digest"]),
                             (first["order_digest"], first["pixel_digest"]), more)
        for more in (["--seed", "1"], ["--epoch", "1"]):
            self.assertNotEqual(feed(SHARDS, *more)["order_digest"], first["order_digest"], more)
        smaller = feed(SHARDS, "--resize-mode", "stretch")
        self.assertEqual(smaller["order_digest"], first["order_digest"])
        self.assertNotEqual(smaller["pixel_digest"], first["pixel_digest"])
        without = feed(SHARDS, "--no-pixel-digest")
        self.assertEqual(without["order_digest"], first["order_digest"])
        self.assertIsNone(without["pixel_digest"])

    def test_clips_out(self):
        path = os.path.join(WORK, "clips.jsonl")
        report = feed(SHARDS, "--clips-out", path, "--epochs", "2")
        with open(path, encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        self.assertEqual(len(lines), report["clips"])
        self.assertEqual({line["id"]["epoch"] for line in lines}, {0, 1})
        for line in lines:
            self.assertEqual(set(line), {"id", "key", "shard", "lane", "frame_indices", "pts", "xxh64"})
            self.assertEqual(len(line["frame_indices"]), 8)
            self.assertEqual(len(line["pts"]), 8)
        ids = [tuple(line["id"].values()) for line in lines]
        self.assertEqual(len(set(ids)), len(ids))

    def test_lanes_are_ranks(self):
        devices = ",".join(f"cpu:{i}" for i in range(4))
        lanes = feed(SHARDS, "--devices", devices, "--ranks", "exact")["lanes"]
        self.assertEqual(len(lanes), 4)
        for rank in range(4):
            # A lane has its part of the shuffle memory.
            alone = feed(SHARDS, "--rank", str(rank), "--world-size", "4", "--ranks", "exact",
                         "--shuffle-bytes", "64MiB")["lanes"]
            self.assertEqual(alone, [lanes[rank]])

    def test_a_gpu_that_is_not_there_is_one_clear_line(self):
        hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
        for arguments in (["--devices", "cuda:0"], ["--decode", "cuda"]):
            finished = run("feed", SHARDS, *arguments, env=hidden)
            self.assertEqual((finished.returncode, finished.out), (2, ""), finished.err)
            lines = [line for line in finished.err.splitlines() if "CUDA" in line]
            self.assertEqual(len(lines), 1, finished.err)
            self.assertRegex(lines[0], "no CUDA here: .+; use .*cpu")

    def test_auto_is_the_cpu_and_says_so(self):
        hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
        finished = run("feed", *SMALL, SHARDS, "--devices", "auto", env=hidden)
        self.assertEqual(finished.returncode, 0, finished.err)
        self.assertEqual(finished.err.count("devices = auto is cpu:0"), 1, finished.err)
        self.assertIn("no CUDA here: ", finished.err)
        digests = {feed(SHARDS, "--devices", devices)["lanes"][0]["order_digest"]
                   for devices in ("auto", "cpu:0")}
        self.assertEqual(len(digests), 1)

    def test_max_batches_and_endless_epochs(self):
        report = feed(SHARDS, "--epochs", "0", "--max-batches", "30", "--batch-size", "4")
        self.assertEqual((report["batches"], report["clips"]), (30, 120))

    def test_the_report_says_when_the_first_batch_was_there(self):
        began = time.time()
        report = feed(SHARDS, "--max-batches", "1", "--batch-size", "4")
        at = report["details"]["first_batch_at"]
        self.assertLess(began + report["first_batch_seconds"], at)
        self.assertLess(at, time.time())

    def test_environment_says_the_rank(self):
        env = dict(os.environ, RANK="1", WORLD_SIZE="2")
        report = feed(SHARDS, "--ranks", "exact", env=env)
        self.assertEqual((report["resolved_options"]["rank"], report["resolved_options"]["world_size"]), (1, 2))
        self.assertIn("RANK and WORLD_SIZE", report["details"]["rank_source"])
        refused = run("feed", SHARDS, env=dict(os.environ, RANK="2", WORLD_SIZE="2"))
        self.assertEqual(refused.returncode, 2)
        self.assertIn("rank 2 of 2", refused.err)

    def test_data_failures_are_1(self):
        empty = os.path.join(WORK, "empty.tar")
        open(empty, "wb").close()
        with tarfile.open(os.path.join(WORK, "nothing.tar"), "w"):
            pass
        for url, words in ((os.path.join(WORK, "missing.tar"), "missing.tar"), (empty, "empty.tar"),
                           (WORK, WORK), ("/dev/null", "/dev/null"), ("pipe:false", "pipe:false"),
                           (os.path.join(WORK, "nothing.tar"), "")):
            finished = run("feed", *SMALL, url, "--json")
            self.assertEqual(finished.returncode, 1, (url, finished.err))
            self.assertIn(words, finished.err)
            self.assertIn("error", json.loads(finished.out))

    def test_output_that_cannot_be_written_is_1(self):
        for path, words in (("/dev/full", "No space left"), (os.path.join(WORK, "no", "dir"), "No such file")):
            finished = run("feed", *SMALL, SHARDS, "--clips-out", path)
            self.assertEqual(finished.returncode, 1)
            self.assertIn(words, finished.err)
        with open("/dev/full", "wb") as full:
            self.assertEqual(run("feed", *SMALL, SHARDS, "--json", stdout=full).returncode, 1)

    def test_keys_of_any_bytes(self):
        shard = os.path.join(WORK, "odd.tar")
        video = os.path.join(WORK, "clips", "train", "clip-0000.mp4")
        with tarfile.open(shard, "w", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape") as tar:
            tar.add(video, arcname=b"k\xff.mp4".decode("utf-8", "surrogateescape"))
        path = os.path.join(WORK, "odd.jsonl")
        self.assertGreater(feed(shard, "--clips-out", path, "--drop-last", "false")["clips"], 0)
        with open(path, encoding="utf-8") as file:
            self.assertEqual(json.loads(file.readline())["key_hex"], "6bff")

    def test_signals_end_the_run_cleanly(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            path = os.path.join(WORK, "stopped.jsonl")
            if os.path.exists(path):
                os.remove(path)
            os.mkfifo(path)
            process = subprocess.Popen([SHARDREEL, "feed", *SMALL, SHARDS, "--epochs", "0", "--json", "--clips-out", path],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            with open(path, encoding="utf-8") as lines:
                for _ in range(20):
                    lines.readline()
                process.send_signal(number)
                for _ in lines:  # the program must not wait for us
                    pass
            out, err = process.communicate(timeout=30)
            os.remove(path)
            self.assertEqual(process.returncode, 128 + number, err)
            report = json.loads(out)
            self.assertEqual(report["error"]["code"], "stopped")
            self.assertGreaterEqual(report["clips"], 20)

    def test_a_hanging_command_is_ended(self):
        process = subprocess.Popen([SHARDREEL, "feed", *SMALL, "pipe:echo begun >&2; sleep 1000"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for line in process.stderr:
            if line == b"begun\n":
                break
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
        self.assertEqual(process.returncode, 143)

    def test_a_command_ends_with_the_program_however_that_ends(self):
        for number in (signal.SIGKILL, signal.SIGTERM):
            mark = f"SHARDREEL_TEST_MARK={os.getpid()}.{number}"
            process = subprocess.Popen(
                [SHARDREEL, "feed", *SMALL, "pipe:sleep 31337 & echo begun >&2; sleep 31337 | (sleep 31337; true)"],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=dict(os.environ, **dict([mark.split("=")])))
            for line in process.stderr:
                if line == b"begun\n":
                    break
            until(lambda: len(marked(mark, b"sleep")) == 3)
            process.send_signal(number)
            process.wait(timeout=10)
            until(lambda: not marked(mark))
            process.stderr.close()

    def test_a_silent_command_is_a_failed_shard(self):
        finished = run("feed", *SMALL, "pipe:sleep 31337", "--stall-timeout", "0.2", "--json")
        self.assertEqual(finished.returncode, 1, finished.err)
        self.assertEqual(json.loads(finished.out)["shards_failed"], 1)
        self.assertIn("no byte came for 0.2 s, the stall_timeout", finished.err)


def tearDownModule():
    shutil.rmtree(os.path.join(WORK, "shards"))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
