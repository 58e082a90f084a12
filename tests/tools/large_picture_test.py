#!/usr/bin/env python3
"""Pictures that claim to be larger than the memory plan: the process stays within its budget, by the kernel's
own count, and the frames of the right size come out.

    large_picture_test.py SHARDREEL WORK_FOLDER [UNITTEST ARGUMENTS]
"""

import json
import os
import subprocess
import sys
import tarfile
import unittest

SHARDREEL, WORK = sys.argv[1], sys.argv[2]
BUDGET = 64 << 20
BESIDE = 96 << 20  # code, libraries and stacks (docs/memory.md)
FRAMES = 25  # before the large picture, and behind it
# Codec, size of the large picture, what a part is written as, what the whole is.
CODECS = {
    "h264": (["-c:v", "libx264", "-preset", "ultrafast", "-bf", "0"], 8192, "h264", "h264"),
    "h264_reordered": (["-c:v", "libx264", "-preset", "fast", "-bf", "3"], 8192, "h264", "h264"),
    "hevc": (["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:pools=1"], 4096, "hevc",
             "hevc"),
    "mpeg4": (["-c:v", "mpeg4"], 4080, "avi", "mkv"),
    "mpeg2": (["-c:v", "mpeg2video"], 4080, "ts", "mkv"),
    "flv1": (["-c:v", "flv1"], 4080, "mkv", "mkv"),
    "vp8": (["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8"], 4096, "webm", "webm"),
    "vp9": (["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"], 4096, "webm", "webm"),
    "mjpeg": (["-c:v", "mjpeg", "-pix_fmt", "yuvj420p"], 8192, "mkv", "mkv"),
    "png": (["-c:v", "png", "-pix_fmt", "rgb24"], 8192, "mkv", "mkv"),
    "prores": (["-c:v", "prores", "-pix_fmt", "yuv422p10le"], 4096, "mkv", "mkv"),
}
OPTIONS = ["--memory-bytes", str(BUDGET), "--num-frames", "1", "--batch-size", "4", "--width", "32", "--height", "32",
           "--shuffle", "none", "--drop-last", "false", "--video-fields", "h264,hevc,mkv,webm"]


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", "-threads", "1", *arguments], check=True)


def part(name, codec, extension, size, frames, source):
    path = os.path.join(WORK, f"{name}.{extension}")
    ffmpeg("-f", "lavfi", "-i", f"{source}s={size}x{size}:r=25", "-frames:v", str(frames), "-pix_fmt", "yuv420p",
           *codec, path)
    return path


def joined(name, parts, extension):
    path = os.path.join(WORK, f"{name}.{extension}")
    if extension in ("h264", "hevc"):
        with open(path, "wb") as out:
            for one in parts:
                with open(one, "rb") as file:
                    out.write(file.read())
        return path
    with open(path + ".txt", "w") as listing:
        listing.writelines(f"file '{os.path.abspath(one)}'\n" for one in parts)
    ffmpeg("-f", "concat", "-safe", "0", "-i", path + ".txt", "-c", "copy", path)
    return path


def shard(path):
    tar = os.path.splitext(path)[0] + ".tar"
    with tarfile.open(tar, "w", format=tarfile.USTAR_FORMAT) as archive:
        archive.add(path, "a" + os.path.splitext(path)[1])
    return tar


def measured(*arguments):
    """Run the program; return its status, its JSON, and the most memory it held by the kernel's count."""
    with open(os.path.join(WORK, "out"), "w+") as out, open(os.path.join(WORK, "err"), "w+") as err:
        # Between this process and the program stands one that is small: its size would count as the program's.
        child = subprocess.Popen(["/bin/sh", "-c", '"$@"; exit $?', "sh", SHARDREEL, *arguments], stdout=out,
                                 stderr=err)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        return child.returncode, out.read(), err.read(), usage.ru_maxrss * 1024


class LargePictureTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        os.makedirs(WORK, exist_ok=True)

    def check_feed(self, tar, size):
        status, out, err, most = measured("feed", tar, *OPTIONS, "--json")
        self.assertEqual(status, 0, err)
        report = json.loads(out)
        self.assertLess(most, BUDGET + BESIDE)
        # Frames of the right size, all of them, and nothing else.
        self.assertEqual(report["clips"], 2 * FRAMES, report)
        self.assertEqual({k: v for k, v in report["clips_dropped_by_reason"].items() if v}, {"memory": 1})
        said = [failure["message"] for failure in report["details"]["first_failures"]]
        self.assertRegex(said[0], f"picture of {size}x{size} in a unit that was planned for 64x64.*memory_bytes")
        # The program's own peak is the kernel's.
        self.assertAlmostEqual(report["peak_rss_bytes"] / most, 1, delta=0.1)
        return report["pixel_digest"]

    def test_every_codec_stays_within_its_budget(self):
        for name, (codec, large, extension, whole) in CODECS.items():
            with self.subTest(codec=name):
                small = part(f"small_{name}", codec, extension, 64, FRAMES, "testsrc2=")
                big = part(f"large_{name}", codec, extension, large, 1, "color=gray:")
                tar = shard(joined(name, [small, big, small], whole))
                index = tar + ".sridx"
                if os.path.exists(index):
                    os.remove(index)
                plain = self.check_feed(tar, large)
                for command in (["verify", "--deep"], ["inspect"], ["index"]):
                    status, _, err, most = measured(*command, tar)
                    self.assertLess(most, BUDGET + BESIDE, command)
                    self.assertLess(status, 2, err)
                self.assertTrue(os.path.exists(index))
                self.assertEqual(self.check_feed(tar, large), plain)

    def test_a_large_picture_at_the_beginning(self):
        # Probing would decode it to learn what the stream is.
        for name in ("h264", "png", "prores", "hevc"):
            codec, large, extension, whole = CODECS[name]
            with self.subTest(codec=name):
                small = part(f"small_{name}", codec, extension, 64, FRAMES, "testsrc2=")
                big = part(f"large_{name}", codec, extension, large, 1, "color=gray:")
                tar = shard(joined(f"first_{name}", [big, small], whole))
                _, out, _, most = measured("feed", tar, *OPTIONS, "--json")
                self.assertLess(most, BUDGET + BESIDE)
                report = json.loads(out)
                self.assertGreater(report["clips_dropped_by_reason"].get("memory", 0)
                                   + report["skipped_by_reason"].get("memory", 0), 0)

    def test_sizes_that_change_within_the_plan_are_decoded(self):
        codec, _, extension, whole = CODECS["h264_reordered"]
        small = part("small", codec, extension, 64, FRAMES, "testsrc2=")
        middle = part("middle", codec, extension, 640, FRAMES, "testsrc2=")
        tar = shard(joined("middle_inside", [small, middle, small], whole))
        status, out, err, most = measured("feed", tar, *OPTIONS, "--json")
        self.assertEqual(status, 0, err)
        self.assertEqual(json.loads(out)["clips"], 3 * FRAMES)
        self.assertLess(most, BUDGET + BESIDE)


if __name__ == "__main__":
    del sys.argv[1:3]
    unittest.main(verbosity=1)
