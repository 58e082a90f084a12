#!/usr/bin/env python3
"""`shardreel pack` when things go wrong: kills, signals, full disks, several at once; see pack_testing.py."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import unittest

from pack_testing import CLIPS, ENV, FULL, SEED, SHARDREEL, WORK, content, fresh, make_clips, members, pack, run


class SafetyTest(unittest.TestCase):
    ARGUMENTS = ("--shard-samples", "2", "--split", "train=0.5,val=0.5", "--shuffle", "1")

    def tidy(self, out):
        """Only whole shards under final names: each reads to its end mark."""
        for name in os.listdir(out):
            if name.endswith(".tar"):
                with open(os.path.join(out, name), "rb") as file:
                    data = file.read()
                self.assertEqual(len(data) % 10240, 0)
                self.assertEqual(data[-1024:], bytes(1024))
                with tarfile.open(os.path.join(out, name)) as tar:
                    self.assertGreaterEqual(len(tar.getmembers()), 2)

    def wait_for_shards(self, process, out):
        """Until two are there: the first is then in the journal as well."""
        while process.poll() is None and not (os.path.isdir(out) and sum(n.endswith(".tar") for n in os.listdir(out)) >= 2):
            time.sleep(0.001)

    def test_killed_at_any_moment_it_goes_on(self):
        chooser = random.Random(SEED)
        for more in ((), ("--balance", "frames")):
            whole = fresh("whole")
            begin = time.monotonic()
            pack(CLIPS, "--out", whole, *self.ARGUMENTS, *more)
            length = time.monotonic() - begin
            expected = content(whole)
            kills = 0
            out = fresh("killed")
            while kills < (100 if FULL else 5):
                process = subprocess.Popen([SHARDREEL, "pack", CLIPS, "--out", out, *self.ARGUMENTS, *more], env=ENV,
                                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                try:
                    err = process.communicate(timeout=chooser.uniform(0, length))[1]
                    self.assertEqual(process.returncode, 0, err)
                    self.assertEqual(content(out), expected)
                    out = fresh("killed")
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.communicate()
                    if process.returncode == -signal.SIGKILL:
                        kills += 1
                    else:  # it was done already
                        self.assertEqual(process.returncode, 0)
                    if os.path.isdir(out):
                        self.tidy(out)
                        names = os.listdir(out)
                        if "dataset.json" in names and ".shardreel-pack.journal" not in names:
                            self.assertEqual(content(out), expected)  # ended before the kill
                            out = fresh("killed")
            pack(CLIPS, "--out", out, *self.ARGUMENTS, *more)
            self.assertEqual(content(out), expected)

    def test_resuming_keeps_what_is_done(self):
        out, whole = fresh("resumed"), fresh("whole")
        pack(CLIPS, "--out", whole, *self.ARGUMENTS)
        names = [n for n in os.listdir(whole) if n.endswith(".tar")]
        process = subprocess.Popen([SHARDREEL, "pack", CLIPS, "--out", out, *self.ARGUMENTS, "--transcode", "preset=slow"],
                                   env=ENV, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.wait_for_shards(process, out)
        process.kill()
        process.wait()
        other = run(CLIPS, "--out", out, *self.ARGUMENTS)
        self.assertEqual(other.returncode, 1)
        self.assertIn("other inputs or options", other.err)
        with open(os.path.join(out, ".train-000000.tar.partial-1"), "wb") as file:
            file.write(b"left by a killed run")
        report = pack(CLIPS, "--out", out, *self.ARGUMENTS, "--transcode", "preset=slow")
        self.assertGreaterEqual(report["resumed_shards"], 1)
        self.assertEqual(len([n for n in os.listdir(out) if n.endswith(".tar")]), len(names))
        self.assertFalse([n for n in os.listdir(out) if n.startswith(".")])

    def test_shards_that_went_away_are_missed(self):
        def interrupted():
            out = fresh("robbed")
            process = subprocess.Popen([SHARDREEL, "pack", CLIPS, "--out", out, *self.ARGUMENTS, "--transcode",
                                        "preset=slow"], env=ENV, stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.wait_for_shards(process, out)
            process.kill()
            process.wait()
            return out, os.path.join(out, "train-000000.tar")

        def cut(path):
            os.truncate(path, os.path.getsize(path) - 512)

        for damage in (os.remove, cut):
            out, shard = interrupted()
            damage(shard)
            report = json.loads(run(CLIPS, "--out", out, *self.ARGUMENTS, "--transcode", "preset=slow", "--json").out)
            self.assertIn("'" + shard + "'", report["error"]["message"])
            self.assertNotIn("dataset.json", os.listdir(out))

    def test_a_failure_is_one_object_too(self):
        out = fresh("failures")
        os.makedirs(os.path.join(WORK, "nothing"), exist_ok=True)
        for arguments, code in (((os.path.join(WORK, "nothing"), "--out", out), "not_media"),
                                ((os.path.join(WORK, "nowhere"), "--out", out), "not_found"),
                                (("--finish", out), "io")):
            failed = run(*arguments, "--json")
            self.assertEqual(failed.returncode, 1)
            self.assertEqual(json.loads(failed.out)["error"]["code"], code)

    def test_nothing_is_overwritten_unasked(self):
        out = fresh("overwrite")
        pack(CLIPS, "--out", out, "--shard-samples", "2")
        stray = os.path.join(out, "other.tar")
        with open(stray, "wb") as file:
            file.write(b"mine")
        before = content(out)
        again = run(CLIPS, "--out", out, "--shard-samples", "8")
        self.assertEqual(again.returncode, 1)
        self.assertIn("--overwrite", again.err)
        self.assertEqual(content(out), before)
        pack(CLIPS, "--out", out, "--shard-samples", "8", "--prefix", "new-", "--overwrite")
        self.assertEqual(sorted(os.listdir(out)), ["dataset.json", "new-000000.tar", "new-000001.tar",
                                                   "new-000002.tar", "other.tar"])

    def test_two_at_once(self):
        out = fresh("two")
        process = subprocess.Popen([SHARDREEL, "pack", CLIPS, "--out", out, "--transcode", "preset=veryslow",
                                    "--shard-samples", "1"], env=ENV, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        journal = os.path.join(out, ".shardreel-pack.journal")
        while not (os.path.exists(journal) and os.path.getsize(journal) > 0):
            self.assertIsNone(process.poll())
        second = run(CLIPS, "--out", out, "--transcode", "preset=veryslow", "--shard-samples", "1", "--overwrite")
        process.kill()
        process.wait()
        self.assertEqual(second.returncode, 1)
        self.assertIn("another pack is running", second.err)

    def test_signals_leave_whole_shards_and_can_be_gone_on_from(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            out = fresh("signal")
            command = [SHARDREEL, "pack", CLIPS, "--out", out, "--transcode", "preset=medium", "--shard-samples", "2"]
            process = subprocess.Popen(command, env=ENV, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.PIPE)
            self.wait_for_shards(process, out)
            process.send_signal(number)
            err = process.communicate(timeout=30)[1]
            self.assertEqual(process.returncode, 128 + number, err)
            self.assertFalse([n for n in os.listdir(out) if "partial" in n])
            self.tidy(out)
            report = pack(*command[2:])
            self.assertGreaterEqual(report["resumed_shards"], 1)
            self.assertEqual(report["samples"], 24)

    def test_a_file_that_may_not_grow_is_one_error(self):
        out = fresh("limit")
        whole = fresh("whole")
        pack(CLIPS, "--out", whole)
        limit = os.path.getsize(os.path.join(whole, "shard-000000.tar")) // 2
        done = run(CLIPS, "--out", out, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        self.assertEqual(done.returncode, 1, done.err)
        self.assertEqual(len(done.err.strip().splitlines()), 1, done.err)
        self.assertIn("File too large", done.err)
        self.assertFalse([n for n in os.listdir(out) if n.endswith(".tar") or "partial" in n])
        pack(CLIPS, "--out", out)
        self.assertEqual(content(out), content(whole))

    def test_a_full_disk_is_one_error(self):
        disk = os.path.join(WORK, "disk")
        os.makedirs(disk, exist_ok=True)
        whole = fresh("whole")
        report = pack(CLIPS, "--out", whole, "--shard-samples", "4")
        size = report["bytes"] * 6 // 10
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], check=False,
                                 stderr=subprocess.PIPE)
        if mounted.returncode != 0:
            self.skipTest("cannot mount a small tmpfs: " + mounted.stderr.decode().strip())
        try:
            out = os.path.join(disk, "out")
            done = run(CLIPS, "--out", out, "--shard-samples", "4")
            self.assertEqual(done.returncode, 1)
            self.assertEqual(len(done.err.strip().splitlines()), 1, done.err)
            self.assertIn("No space left on device", done.err)
            self.assertFalse([n for n in os.listdir(out) if "partial" in n])
            self.tidy(out)
            shards = [n for n in os.listdir(out) if n.endswith(".tar")]
            self.assertGreater(len(shards), 0)
            subprocess.run(["mount", "-o", f"remount,size={size * 4}", disk], check=True)
            report = pack(CLIPS, "--out", out, "--shard-samples", "4")
            self.assertEqual(report["resumed_shards"], len(shards))
            self.assertEqual(content(out), content(whole))
        finally:
            subprocess.run(["umount", disk], check=True)


class TasksTest(unittest.TestCase):
    def pack_tasks(self, out, count, *more):
        for index in range(count):
            pack(CLIPS, "--out", out, "--shard-samples", "3", "--task-index", str(index), "--task-count", str(count), *more)

    def test_finish_merges_and_checks(self):
        out = fresh("tasks")
        more = ("--split", "train=0.5,val=0.5", "--shuffle", "5", "--check", "open")
        self.pack_tasks(out, 4, *more)
        repeat = pack(CLIPS, "--out", out, "--shard-samples", "3", "--task-index", "2", "--task-count", "4", *more)
        self.assertEqual(repeat["resumed_shards"], len(repeat["shards"]))
        report = pack("--finish", out)
        self.assertEqual(report["samples"], 24)
        packed = members(out)
        alone = fresh("alone")
        pack(CLIPS, "--out", alone)
        self.assertEqual({n: c for n, (_, c) in packed.items()}, {n: c for n, (_, c) in members(alone).items()})
        self.assertFalse([n for n in os.listdir(out) if n.startswith(".")])
        again = content(out)
        pack("--finish", out)
        self.assertEqual(content(out), again)
        with open(os.path.join(out, "dataset.json"), encoding="utf-8") as file:
            self.assertEqual({s["name"]: s["sha256"] for s in json.load(file)["shards"]},
                             {n: h for n, h in again.items() if n.endswith(".tar")})

    @staticmethod
    def renamed(archive, old, new):
        """The archive with the members of one key renamed, checksums and all."""
        blocks = [bytearray(archive[i:i + 512]) for i in range(0, len(archive), 512)]
        for block in blocks:
            if block.startswith(old + b".") and block[257:262] == b"ustar":
                block[:len(new)] = new
                block[148:156] = b" " * 8
                block[148:156] = b"%06o\0 " % sum(block)
        return b"".join(blocks)

    def test_finish_finds_what_is_wrong(self):
        def complaint(out):
            done = run("--finish", out)
            self.assertEqual(done.returncode, 1, done.out)
            self.assertFalse(os.path.exists(os.path.join(out, "dataset.json")))
            return done.err

        out = fresh("broken")
        self.assertIn("no work of tasks", complaint(WORK))
        self.pack_tasks(out, 3)
        journal = os.path.join(out, ".shardreel-pack-0001-of-0003.journal")
        os.rename(journal, journal + "x")
        self.assertIn("task 1 of 3 is missing", complaint(out))
        os.rename(journal + "x", journal)
        shard = os.path.join(out, "shard-0001-000000.tar")
        os.rename(shard, shard + "x")
        self.assertIn("shard-0001-000000.tar", complaint(out))
        os.rename(shard + "x", shard)
        stray = os.path.join(out, "shard-0007-000000.tar")
        shutil.copy(shard, stray)
        self.assertIn("of no task", complaint(out))
        os.remove(stray)
        # A sample of another task in this one's shard, which keeps its size.
        with open(shard, "rb") as file:
            right = file.read()
        with tarfile.open(shard) as tar:
            own = tar.getmembers()[0].name.split(".")[0].encode()
        others = {name.split(".")[0].encode() for name, (at, _) in members(out).items() if at.startswith("shard-0000-")}
        taken = min(key for key in others if len(key) == len(own))
        with open(shard, "wb") as file:
            file.write(self.renamed(right, own, taken))
        self.assertIn(f"the key '{taken.decode()}' is in", complaint(out))
        # A byte of a content, which changes neither size nor keys.
        with tarfile.open(shard) as tar:
            at = tar.getmembers()[-1].offset_data
        with open(shard, "wb") as file:
            file.write(right[:at] + bytes([right[at] ^ 1]) + right[at + 1:])
        self.assertRegex(complaint(out), "shard-0001-000000.tar' has the SHA-256 [0-9a-f]{64}; its task wrote [0-9a-f]")
        with open(shard, "wb") as file:
            file.write(right)
        pack("--finish", out)
        mixed = fresh("mixed")
        pack(CLIPS, "--out", mixed, "--task-index", "0", "--task-count", "2")
        pack(CLIPS, "--out", mixed, "--task-index", "1", "--task-count", "2", "--shuffle", "1")
        self.assertIn("other inputs or options", complaint(mixed))
        self.assertEqual(run(CLIPS, "--out", mixed, "--task-index", "2", "--task-count", "2").returncode, 2)
        self.assertIn("another run", run(CLIPS, "--out", mixed).err)

    def test_slurm_array_variables(self):
        out = fresh("array")
        for task in (3, 5, 7):
            env = dict(ENV, SLURM_ARRAY_TASK_ID=str(task), SLURM_ARRAY_TASK_MIN="3", SLURM_ARRAY_TASK_MAX="7",
                       SLURM_ARRAY_TASK_COUNT="3", SLURM_ARRAY_TASK_STEP="2", SLURM_PROCID="0", SLURM_NTASKS="1")
            done = run(CLIPS, "--out", out, env=env)
            self.assertEqual(done.returncode, 0, done.err)
            self.assertIn(f"task {(task - 3) // 2} of 3", done.err)
        self.assertEqual(pack("--finish", out)["samples"], 24)


def setUpModule():
    make_clips()


def tearDownModule():
    shutil.rmtree(os.path.join(WORK, "out"))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
