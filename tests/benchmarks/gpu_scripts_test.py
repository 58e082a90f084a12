#!/usr/bin/env python3
"""The scripts of benchmarks/gpu on a machine without a GPU: what they refuse, what a run with stand-ins for the
programs writes, and the training loop on the CPU.

    gpu_scripts_test.py SHARDREEL WORK_FOLDER [UNITTEST ARGUMENTS]
"""
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
SCRIPTS = os.path.join(ROOT, "benchmarks", "gpu")
SHARDREEL, WORK = sys.argv[1], sys.argv[2]
MEDIA = os.path.join(WORK, "media")
HAS_GPU = bool(glob.glob("/dev/nvidia[0-9]*"))

# Stand-ins: nvidia-smi lists a GPU; gpu_bench answers or fails; tests pass, fail and are skipped.
STUBS = {
    "nvidia-smi": 'case "$1" in -L) echo "GPU 0: one that is not there" ;; *) echo 999.1 ;; esac',
    "gpu_bench": 'case "$1" in device) echo \'{"device": "a stand-in", "cores": 2}\' ;;\n'
                 'kernel) echo \'{"to": "224x224", "frames": [{"from": "nv12 8x8", "kernel_bytes_per_second": '
                 '{"median": 1e9}, "copy_bytes_per_second": {"median": 2e9}, "kernel_over_copy": {"median": 0.5}}]}\' ;;\n'
                 '*) echo "first words" >&2; echo "the GPU fell over" >&2; exit 7 ;; esac',
    "gpu_test": 'for a in "$@"; do case "$a" in --gtest_output=json:*) cat > "${a#*json:}" <<END\n'
                '{"testsuites": [{"name": "A", "testsuite": [{"name": "good", "result": "COMPLETED"},'
                ' {"name": "left", "result": "SKIPPED"}]}]}\nEND\n;; esac; done',
    "gpu_network_test": "echo dying >&2; exit 3",
    "device_test": "exit 0",
    "compute-sanitizer": 'case "$*" in *racecheck*gpu_test*) echo "========= RACECHECK SUMMARY: 3 hazards"; exit 99 ;; esac',
}


def run(command, **more):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, **more)


class Scripts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        made = run([os.path.join(SCRIPTS, "make_media.sh"), MEDIA, "check"], env=dict(os.environ, SHARDREEL=SHARDREEL))
        if made.returncode != 0:
            raise RuntimeError(made.stderr)

    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)

    def programs(self):
        """A folder of stand-ins, which also comes first on the path."""
        for name, body in STUBS.items():
            path = os.path.join(self.folder, name)
            with open(path, "w", encoding="utf-8") as file:
                file.write(f"#!/bin/bash\n{body}\n")
            os.chmod(path, 0o755)
        return dict(os.environ, PATH=f"{self.folder}:{os.environ['PATH']}")

    def run_script(self, *arguments, env=None):
        return run([os.path.join(SCRIPTS, "run.sh"), "--programs", self.folder, "--media", MEDIA, "--out",
                    os.path.join(self.folder, "out"), "--label", "try", *arguments], env=env)

    @unittest.skipIf(HAS_GPU, "there is a GPU")
    def test_without_a_gpu_it_stops_with_one_line(self):
        refused = self.run_script()
        self.assertEqual(refused.returncode, 2)
        self.assertEqual(refused.stdout, "")
        self.assertEqual(len(refused.stderr.splitlines()), 1, refused.stderr)
        self.assertIn("no GPU here", refused.stderr)
        self.assertFalse(os.path.exists(os.path.join(self.folder, "out")))

    def test_a_dry_run_lists_every_step_and_writes_nothing(self):
        listed = self.run_script("--dry-run")
        self.assertEqual(listed.returncode, 0, listed.stderr)
        for step in ("tests", "sanitizer", "claim", "nvdec", "lane", "kernel", "hybrid", "pressure", "training"):
            self.assertRegex(listed.stdout, f"(?m)^{step}: ")
        self.assertFalse(os.path.exists(os.path.join(self.folder, "out")))

    def test_a_step_that_is_not_there_is_refused(self):
        self.assertEqual(self.run_script("--dry-run", "--only", "lane,nonsense").returncode, 1)

    def test_the_report_says_what_passed_failed_and_was_skipped(self):
        done = self.run_script("--only", "tests,sanitizer,lane,kernel,claim", env=self.programs())
        self.assertEqual(done.returncode, 1, done.stderr)
        with open(os.path.join(self.folder, "out", "gpu-try.json"), encoding="utf-8") as file:
            report = json.load(file)
        self.assertEqual(report["device"]["device"], "a stand-in")
        self.assertEqual(report["driver"], "999.1")
        self.assertEqual(report["tests"]["gpu_test"], {"passed": 1, "failed": [], "skipped": ["A.left"]})
        self.assertEqual(len(report["tests"]["gpu_network_test"]["failed"]), 1)
        results = {(one["tool"], one["program"]): one["result"] for one in report["sanitizer"]}
        self.assertEqual(len(results), 12)
        self.assertIn("3 hazards", results["racecheck", "gpu_test"])
        self.assertEqual(results["memcheck", "gpu_test"], "clean")
        self.assertIn("the GPU fell over", report["lane"]["failed"])
        self.assertIn("status 7", report["lane"]["failed"])
        self.assertIn("no shards", report["claim"]["skipped"])
        self.assertNotIn("pressure", report)
        with open(os.path.join(self.folder, "out", "gpu-try.md"), encoding="utf-8") as file:
            table = file.read()
        self.assertIn("| kernel | nv12 8x8 to 224x224 | 1 of 2 GB/s: 0.50 |", table)
        self.assertIn("| lane |  | FAILED: status 7: the GPU fell over |", table)
        self.assertIn("| pressure |  | not asked for |", table)

    def test_a_gpu_that_does_not_work_ends_it(self):
        env = self.programs()
        with open(os.path.join(self.folder, "gpu_bench"), "w", encoding="utf-8") as file:
            file.write("#!/bin/bash\necho 'gpu_bench: no GPU here: its driver is too old' >&2\nexit 2\n")
        refused = self.run_script(env=env)
        self.assertEqual(refused.returncode, 2)
        self.assertIn("its driver is too old", refused.stderr)
        self.assertFalse(os.path.exists(os.path.join(self.folder, "out")))

    def test_the_videos_are_shards_of_every_kind(self):
        names = sorted(os.path.basename(path) for path in glob.glob(os.path.join(MEDIA, "check", "*.tar")))
        self.assertEqual(len(names), 7, names)
        for path in glob.glob(os.path.join(MEDIA, "check", "*.tar")):
            seen = run([SHARDREEL, "inspect", "--json", path])
            frames = sorted(json.loads(line)["video"]["frames"] for line in seen.stdout.splitlines())
            self.assertEqual(frames, [50, 80], path)

    @unittest.skipIf("SHARDREEL_SANITIZED" in os.environ, "the interpreter would have to be built with the sanitizer")
    def test_the_training_loop_runs_on_the_cpu_too(self):
        shard = os.path.join(MEDIA, "check", "h264.tar")
        looped = run([sys.executable, os.path.join(SCRIPTS, "training_loop.py"), shard, "--device", "cpu:0", "--decode",
                      "cpu", "--rounds", "1", "--size", "32", "--width", "64", "--depth", "1", "--memory-bytes", "256MiB"])
        if looped.returncode == 77:
            self.skipTest(looped.stdout.strip())
        self.assertEqual(looped.returncode, 0, looped.stderr)
        [video] = json.loads(looped.stdout)["videos"]
        self.assertEqual(video["cpu"]["steps"], 1)
        self.assertTrue(0 < video["cpu"]["busy_by_events"]["median"] <= 1)
        self.assertGreater(video["cpu"]["seconds"]["median"], 0)


if __name__ == "__main__":
    del sys.argv[1:3]
    unittest.main(verbosity=1)
