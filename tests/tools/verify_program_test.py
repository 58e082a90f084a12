#!/usr/bin/env python3
"""`shardreel verify` as its users meet it: exit statuses, the report, a signal.

    verify_program_test.py SHARDREEL WORK_FOLDER [UNITTEST ARGUMENTS]
"""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import unittest

SHARDREEL, WORK = sys.argv[1], sys.argv[2]


def run(*arguments, status=0):
    finished = subprocess.run([SHARDREEL, "verify", *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=120, check=False)
    assert finished.returncode == status, (arguments, finished.returncode, finished.stdout, finished.stderr)
    return finished.stdout.decode()


def make_shard(name, members):
    path = os.path.join(WORK, name)
    with tarfile.open(path, "w") as tar:
        for member, content in members:
            info = tarfile.TarInfo(member)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def setUpModule():
    shutil.rmtree(WORK, ignore_errors=True)
    os.makedirs(WORK)


class VerifyTest(unittest.TestCase):
    def test_statuses(self):
        good = make_shard("good.tar", [("a.txt", b"1"), ("b.txt", b"2")])
        self.assertIn("nothing wrong", run(good))
        empty = make_shard("empty.tar", [("a.txt", b"")])
        self.assertIn("WARNING empty_member", run(empty, status=1))
        run(empty, "--fail-on", "error")
        twice = make_shard("twice.tar", [("a.txt", b"1"), ("b.txt", b"2"), ("a.txt", b"3")])
        run(twice, "--fail-on", "error", status=1)
        for arguments in ([], [good, "--fail-on", "never"], [good, "--jobs", "0"], [good, "--repair", WORK]):
            run(*arguments, status=2)
        self.assertIn("shard_unreadable", run(os.path.join(WORK, "none.tar"), status=1))
        self.assertIn("shard_unreadable", run("pipe:cat " + good + "; exit 3", status=1))

    def test_long_frames_and_several_streams(self):
        def video(name, *arguments):
            path = os.path.join(WORK, name)
            subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *arguments, path], check=True)
            return path

        def content(path):
            with open(path, "rb") as file:
                return file.read()

        even = video("even.mp4", "-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=4", "-c:v", "libx264", "-bf", "0",
                     "-pix_fmt", "yuv420p")
        gap, slow = (video(name, "-i", even, "-c", "copy", "-bsf:v", f"setts=ts='if(gte(N,50),TS+{gap}/TB,TS)'")
                     for name, gap in (("gap.mp4", 1000), ("slow.mp4", 299)))
        two = video("two.mkv", "-f", "lavfi", "-i", "color=red:s=32x32:r=25:d=0.04", "-i", even, "-map", "0", "-map", "1",
                    "-c:v:0", "mjpeg", "-pix_fmt:v:0", "yuvj420p", "-c:v:1", "copy")
        shard = make_shard("videos.tar", [(f"{key}.{path[-3:]}", content(path))
                                          for key, path in (("a", even), ("b", gap), ("c", slow), ("d", two))])
        for deep in ([], ["--deep"]):
            run(shard, *deep, "--fail-on", "error")
            findings = json.loads(run(shard, "--json", *deep, status=1))["findings"]
            self.assertEqual([(f["severity"], f["kind"], f["key"]) for f in findings],
                             [("warning", "long_frame", "b"), ("warning", "video_streams", "d")])
            self.assertIn("frame 49 stays shown for 1000.040 s", findings[0]["message"])
            self.assertIn("2 video streams; stream 1 is taken", findings[1]["message"])

    def test_json_is_the_same_for_any_number_of_jobs(self):
        first = make_shard("first.tar", [(f"k{i}.{f}", b"{" if i % 7 == 0 else b"{}") for i in range(60)
                                         for f in ("json", "png") if f == "json" or i % 9])
        second = make_shard("second.tar", [(f"k{i}.json", b"") for i in range(50, 90)])
        reports = {run(first, second, "--json", "--jobs", str(jobs), status=1) for jobs in (1, 2, 4, 9)}
        self.assertEqual(len(reports), 1)
        report = json.loads(reports.pop())
        self.assertEqual(report["findings_by_kind"]["json"], 9)
        self.assertEqual(report["findings_by_kind"]["duplicate_key"], 10)
        self.assertEqual(report["findings_by_kind"]["empty_member"], 40)
        self.assertEqual(report["errors"] + report["warnings"], sum(report["findings_by_kind"].values()))
        for finding in report["findings"]:
            self.assertEqual(set(finding),
                             {"severity", "kind", "shard", "key", "field", "offset", "message", "advice"})

    def test_a_signal_ends_it_with_what_was_found(self):
        bad = make_shard("bad.tar", [("a.json", b"{")])
        fifo = os.path.join(WORK, "fifo")
        os.mkfifo(fifo)
        process = subprocess.Popen([SHARDREEL, "verify", "--json", bad, f"pipe:echo > {fifo}; sleep 1000"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        with open(fifo, "rb") as begun:
            begun.read()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 130, err)
        report = json.loads(out)
        self.assertTrue(report["stopped"])
        self.assertEqual(report["findings_by_kind"], {"json": 1})


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
