#!/usr/bin/env python3
"""`shardreel inspect` against Python's tarfile, hashlib and the ffmpeg programs.

    inspect_test.py SHARDREEL WORK_FOLDER [UNITTEST ARGUMENTS]
"""

import hashlib
import io
import json
import math
import os
import subprocess
import sys
import tarfile
import unittest

SHARDREEL, WORK = sys.argv[1], sys.argv[2]


def run(*arguments, status=0):
    finished = subprocess.run([SHARDREEL, "inspect", *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=120, check=False)
    assert finished.returncode == status, (arguments, finished.returncode, finished.stderr.decode())
    return finished


def lines(*arguments, status=0):
    return [json.loads(line) for line in run(*arguments, "--json", status=status).stdout.decode().splitlines()]


def ffmpeg(*arguments):
    return subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *arguments], check=True,
                          stdout=subprocess.PIPE).stdout


def make_shard(name, members, form=tarfile.PAX_FORMAT):
    path = os.path.join(WORK, name)
    with tarfile.open(path, "w", format=form, encoding="utf-8", errors="surrogateescape") as tar:
        for member, content in members:
            info = tarfile.TarInfo(member)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def clip(name, *arguments):
    """4 s at 25 frames a second of a moving picture, 160x120; without subsampling, so that scalers agree."""
    path = os.path.join(WORK, name)
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=4", "-pix_fmt", "yuv444p", *arguments, path)
    with open(path, "rb") as file:
        return path, file.read()


def psnr(one, two):
    assert len(one) == len(two), (len(one), len(two))
    error = sum((a - b) ** 2 for a, b in zip(one, two)) / len(one)
    return 99 if error == 0 else 10 * math.log10(255 * 255 / error)


def setUpModule():
    os.makedirs(WORK, exist_ok=True)


class ListTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.path, cls.video = clip("plain.mp4", "-c:v", "libx264", "-g", "20", "-bf", "0")
        members = [(f"d/{k}.{f}", content) for k in ("a", "b") for f, content in
                   (("json", b'{"k": 1}'), ("mp4", cls.video), ("seg.PNG", b"x" * 700))]
        cls.shard = make_shard("list.tar", members + [("n" * 150 + ".txt", b"long"), ("c.mp4", b"no video")])

    def test_json_agrees_with_tarfile(self):
        got = lines(self.shard, "--hash", status=1)  # c.mp4 is no video
        with tarfile.open(self.shard) as tar:
            infos = tar.getmembers()
            expected = {info.name.lower(): (info.offset, info.size,
                                            hashlib.sha256(tar.extractfile(info).read()).hexdigest()) for info in infos}
        found = {f"{sample['key']}.{name}": (field["offset"], field["size"], field["sha256"])
                 for sample in got for name, field in sample["fields"].items()}
        self.assertEqual(found, expected)
        self.assertEqual([s["key"] for s in got], ["d/a", "d/b", "n" * 150, "c"])
        self.assertEqual([s["ordinal"] for s in got], [0, 1, 2, 3])
        self.assertEqual([s["offset"] for s in got], [min(f["offset"] for f in s["fields"].values()) for s in got])
        self.assertTrue(all(s["shard"] == self.shard for s in got))
        self.assertNotIn("video", got[2])
        self.assertEqual(got[3]["video"]["error"]["code"], "not_media")

    def test_video_facts_agree_with_ffprobe(self):
        video = lines(self.shard, "--limit", "1")[0]["video"]
        probe = json.loads(subprocess.run(
            ["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-of", "json", self.path], check=True,
            stdout=subprocess.PIPE).stdout)["streams"][0]
        self.assertEqual((video["codec"], video["width"], video["height"], video["pixel_format"], video["frames"]),
                         (probe["codec_name"], probe["width"], probe["height"], probe["pix_fmt"],
                          int(probe["nb_read_frames"])))
        self.assertEqual((video["fps"], video["seconds"], video["constant_rate"], video["keyframes"], video["rotation"]),
                         (25, 4, True, 5, 0))
        self.assertEqual(video["facts_from"], "video")

    def test_streams_aspect_and_the_longest_frame(self):
        made = os.path.join(WORK, "facts.mkv")
        ffmpeg("-f", "lavfi", "-i", "color=red:s=32x32:r=25:d=0.04", "-f", "lavfi", "-i", "testsrc2=s=96x64:r=25:d=2",
               "-map", "0", "-map", "1", "-c:v:0", "mjpeg", "-pix_fmt:v:0", "yuvj420p", "-c:v:1", "libx264",
               "-pix_fmt:v:1", "yuv420p", "-aspect:v:1", "2:1", made)
        gap = os.path.join(WORK, "gap.mp4")
        ffmpeg("-i", self.path, "-c", "copy", "-bsf:v", "setts=ts='if(gte(N,50),TS+1000/TB,TS)'", gap)
        with open(made, "rb") as two, open(gap, "rb") as long:
            shard = make_shard("facts.tar", [("a.mkv", two.read()), ("b.mp4", long.read()), ("c.mp4", self.video)])
        for source in ("video", "index"):
            if source == "index":
                subprocess.run([SHARDREEL, "index", shard], check=True, stdout=subprocess.DEVNULL)
            a, b, c = (sample["video"] for sample in lines(shard))
            self.assertEqual([video["facts_from"] for video in (a, b, c)], [source] * 3)
            self.assertEqual((a["codec"], a["frames"], a["video_streams"], a["stream"], a["sample_aspect"],
                              a["display_width"]), ("h264", 50, 2, 1, "4:3", 128))
            self.assertEqual((c["video_streams"], c["stream"]), (1, 0))
            self.assertAlmostEqual(b["longest_frame_seconds"], 1000.04, places=3)
            self.assertAlmostEqual(c["longest_frame_seconds"], 0.04, places=3)
            self.assertIn("2 video streams; stream 1 is taken", run(shard).stdout.decode())

    def test_table_and_totals(self):
        text = run(self.shard, status=1).stdout.decode()
        for words in ("d/a", "h264", "160x120", "4 samples in 1 shards", "seg.png", "2 videos, 200 frames",
                      "1 videos that CANNOT BE READ", "not_media"):
            self.assertIn(words, text)
        self.assertIn("nnn...nnn", text)
        self.assertTrue(all(len(line) < 160 for line in text.splitlines() if "nnn" in line))
        self.assertNotIn("h264", run(self.shard, "--no-video").stdout.decode())

    def test_names_of_any_bytes(self):
        shard = make_shard("odd.tar", [(b"k\xff.t\xfe".decode("utf-8", "surrogateescape"), b"1"),
                                       (b"k\xff.t\xfd".decode("utf-8", "surrogateescape"), b"2")],
                           tarfile.GNU_FORMAT)
        sample = lines(shard)[0]
        self.assertEqual(sample["key_hex"], "6bff")
        self.assertEqual(sorted(field["name_hex"] for field in sample["fields"].values()), ["74fd", "74fe"])
        self.assertEqual(run(shard, "--sample", b"k\xff", "--extract", b"t\xfd").stdout, b"2")
        run(shard)

    def test_failures_take_their_place(self):
        with open(self.shard, "rb") as file:
            content = file.read()
        cut = os.path.join(WORK, "cut.tar")
        with open(cut, "wb") as file:
            file.write(content[:lines(self.shard, status=1)[1]["offset"] + 2000])
        got = lines(cut, status=1)
        self.assertEqual([s["key"] for s in got], ["d/a", "d/b"])
        self.assertEqual(got[1]["error"]["code"], "truncated")
        compat = lines(cut, "--integrity", "compat", status=1)
        self.assertIn("json", compat[-1]["fields"])

    def test_merged_samples_name_their_shards(self):
        first = make_shard("m0.tar", [("a.jpg", b"1"), ("a.txt", b"2" * 2000)])
        os.truncate(first, 2000)
        second = make_shard("m1.tar", [("a.txt", b"3")])
        got = lines(first, second, "--integrity", "compat", status=1)
        self.assertEqual([s.get("key") for s in got if "fields" in s], ["a"])
        sample = [s for s in got if "fields" in s][0]
        self.assertEqual(sample["fields"]["txt"]["shard"], second)
        self.assertNotIn("shard", sample["fields"]["jpg"])

    def test_extract_and_sample(self):
        self.assertEqual(run(self.shard, "--sample", "d/b", "--extract", "mp4").stdout, self.video)
        self.assertEqual([s["key"] for s in lines(self.shard, "--sample", "d/b")], ["d/b"])
        self.assertIn(b"no sample has the key", run(self.shard, "--sample", "x", status=1).stderr)
        self.assertIn(b"json, mp4, seg.png",
                      run(self.shard, "--sample", "d/a", "--extract", "png", status=1).stderr)

    def test_usage(self):
        for arguments in ([], [self.shard, "--extract", "mp4"], [self.shard, "--frames", "d/a"],
                          [self.shard, "--frames", "d/a", "--png", "x.png", "--at", "1.5"],
                          [self.shard, "--frames", "d/a", "--png", "x.png", "--at", "-1"],
                          [self.shard, "--integrity", "lax"], [self.shard, "--sample-aspect", "square"]):
            run(*arguments, status=2)

    def test_sources(self):
        for url in ("file:" + self.shard, "pipe:cat " + self.shard):
            self.assertEqual([s["key"] for s in lines(url, "--no-video")], ["d/a", "d/b", "n" * 150, "c"])


class PictureTest(unittest.TestCase):
    """The picture of a frame is the one that ffmpeg shows: which frame, turned, with its aspect."""

    def frames(self, path, width, height, numbers):
        """ffmpeg's frames as shown; its scaler differs from ours a little, its frames do not."""
        select = "+".join(f"eq(n\\,{n})" for n in numbers)
        raw = ffmpeg("-i", path, "-vf", f"select={select},scale={width}:{height}:flags=bilinear+accurate_rnd"
                     "+full_chroma_int+full_chroma_inp", "-vsync", "passthrough", "-pix_fmt", "rgb24", "-f", "rawvideo",
                     "-")
        size = width * height * 3
        return [raw[i * size:(i + 1) * size] for i in range(len(numbers))]

    def check(self, name, width, height, *arguments, least=46, flags=()):
        path, video = clip(name, *arguments)
        shard = make_shard(name + ".tar", [("k/v." + name.rsplit(".", 1)[1], video)])
        numbers = [0, 36, 37, 38, 99]
        expected = dict(zip(numbers, self.frames(path, width, height, numbers)))
        png = os.path.join(WORK, "frame.png")
        for at, number in (("0", 0), ("37", 37), ("1.48s", 37), ("1.5s", 37), ("1.519s", 37), ("1.52s", 38), ("99", 99),
                           ("0s", 0)):
            run(shard, "--frames", "k/v", "--at", at, "--png", png, *flags)
            raw = ffmpeg("-i", png, "-pix_fmt", "rgb24", "-f", "rawvideo", "-")
            scores = {n: psnr(raw, picture) for n, picture in expected.items()}
            self.assertGreater(scores[number], least, (name, at, scores))
            self.assertEqual(max(scores, key=scores.get), number, (name, at, scores))
        self.assertIn(b"behind the end", run(shard, "--frames", "k/v", "--at", "4s", "--png", png, status=1).stderr)
        self.assertIn(b"100 frames", run(shard, "--frames", "k/v", "--at", "100", "--png", png, status=1).stderr)

    def test_plain(self):
        self.check("plain.mkv", 160, 120, "-c:v", "libx264", "-g", "50", "-bf", "2", "-colorspace", "smpte170m")

    def test_sample_aspect(self):
        wide = ("-c:v", "libx264", "-vf", "setsar=2", "-colorspace", "smpte170m")
        self.check("wide.mp4", 160, 120, *wide)
        self.check("wide.mp4", 160, 120, *wide, flags=("--sample-aspect", "ignore"))
        self.check("wide.mp4", 320, 120, *wide, least=40, flags=("--sample-aspect", "apply"))

    def test_sample_aspect_of_the_sheet(self):
        _, video = clip("sheet_wide.mp4", "-c:v", "libx264", "-vf", "setsar=2", "-colorspace", "smpte170m")
        shard = make_shard("sheet_wide.tar", [("a.mp4", video)])
        png = os.path.join(WORK, "sheet_wide.png")
        for aspect, width, height in (("ignore", 120, 90), ("apply", 160, 60)):
            run(shard, "--contact-sheet", png, "--thumbnails", "1", "--sample-aspect", aspect)
            raw = ffmpeg("-i", png, "-pix_fmt", "rgb24", "-f", "rawvideo", "-")
            rows = [raw[i * 168 * 3:(i + 1) * 168 * 3] for i in range(98)]
            drawn = [(x, y) for y, row in enumerate(rows) for x in range(168) if row[x * 3:x * 3 + 3] != b"\x20\x20\x20"]
            self.assertEqual((max(x for x, _ in drawn) - min(x for x, _ in drawn) + 1,
                              max(y for _, y in drawn) - min(y for _, y in drawn) + 1), (width, height), aspect)

    def test_rotation(self):
        clip("upright.mp4", "-c:v", "libx264", "-colorspace", "smpte170m")
        ffmpeg("-i", os.path.join(WORK, "upright.mp4"), "-c", "copy", "-metadata:s:v", "rotate=90",
               os.path.join(WORK, "turned.mp4"))
        original = globals()["clip"]
        try:
            def turned(name, *_):
                path = os.path.join(WORK, name)
                with open(path, "rb") as file:
                    return path, file.read()
            globals()["clip"] = turned
            self.check("turned.mp4", 120, 160)
        finally:
            globals()["clip"] = original

    def test_contact_sheet(self):
        path, video = clip("sheet.mp4", "-c:v", "libx264", "-colorspace", "smpte170m")
        shard = make_shard("sheet.tar", [("a.mp4", video), ("b.txt", b"none"), ("c.mp4", video)])
        png = os.path.join(WORK, "sheet.png")
        finished = run(shard, "--contact-sheet", png, "--thumbnails", "4", status=1)
        self.assertEqual([line.split()[:2] for line in finished.stdout.decode().splitlines()],
                         [["1", "a"], ["2", "b"], ["3", "c"]])
        self.assertIn(b"key b", finished.stderr)
        width, height = 4 + 4 * 164, 4 + 3 * 94
        raw = ffmpeg("-i", png, "-pix_fmt", "rgb24", "-f", "rawvideo", "-")
        self.assertEqual(len(raw), width * height * 3)
        numbers = [12, 37, 62, 87]
        expected = self.frames(path, 120, 90, numbers)
        for row, red in ((0, False), (1, True), (2, False)):
            for column in range(4):
                x, y = 4 + column * 164, 4 + row * 94
                if red:
                    at = (y * width + x) * 3
                    self.assertEqual(raw[at:at + 3], bytes([0x60, 0, 0]))
                    continue
                cell = b"".join(raw[((y + i) * width + x + 20) * 3:((y + i) * width + x + 140) * 3] for i in range(90))
                scores = [psnr(cell, picture) for picture in expected]
                self.assertEqual(scores.index(max(scores)), column, (row, scores))
                self.assertGreater(scores[column], 28)
        only = run(shard, "--contact-sheet", png, "--limit", "1")
        self.assertIn(b"--limit", only.stderr)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
