#!/usr/bin/env python3
"""The clips of tools/make_clips.py: the frame number is readable in every codec, the motion is the
labelled one, and the same arguments give the same bytes."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

TOOL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools", "make_clips.py")
COUNT = 13  # all eight motions, all five codecs, both splits


def make(out, *more):
    command = [sys.executable, TOOL, out, "--count", str(COUNT), *more]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def clips(out):
    """Yield (video, facts, class) of every clip."""
    for split in ("train", "heldout"):
        for name in sorted(os.listdir(os.path.join(out, split))):
            stem, extension = os.path.splitext(os.path.join(out, split, name))
            if extension in (".cls", ".json"):
                continue
            with open(stem + ".json", encoding="utf-8") as facts, open(stem + ".cls", encoding="utf-8") as label:
                yield stem + extension, json.load(facts), int(label.read())


def gray_frames(video, width, height):
    raw = subprocess.run(
        ["ffmpeg", "-nostdin", "-v", "error", "-i", video, "-map", "0:v:0", "-vsync", "passthrough",
         "-pix_fmt", "gray", "-f", "rawvideo", "-"], check=True, stdout=subprocess.PIPE).stdout
    size = width * height
    return [raw[at:at + size] for at in range(0, len(raw), size)]


def frame_number(frame, width):
    """Read the twelve squares at their centres."""
    return sum(1 << bit for bit in range(12) if frame[4 * width + 8 * bit + 4] > 128)


def best_shift(first, second, width, height):
    """The (x, y) that the content moved, by least difference over a grid of points; |shift| <= 4."""
    def cost(dx, dy):
        return sum(abs(first[y * width + x] - second[(y + dy) * width + x + dx])
                   for y in range(24, height - 8, 7) for x in range(8, width - 8, 5))
    return min(((dx, dy) for dx in range(-4, 5) for dy in range(-4, 5)), key=lambda shift: cost(*shift))


class MakeClipsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        make(cls.folder.name)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_facts_and_frame_numbers(self):
        codecs, motions = set(), set()
        for video, facts, label in clips(self.folder.name):
            codecs.add(facts["codec"])
            motions.add(facts["motion"])
            self.assertEqual(label, facts["class"])
            frames = gray_frames(video, facts["width"], facts["height"])
            self.assertEqual([frame_number(f, facts["width"]) for f in frames],
                             list(range(facts["frames"])), video)
            streams = subprocess.run(
                ["ffprobe", "-v", "error", "-show_entries", "stream=codec_type,codec_name", "-of", "csv=p=0", video],
                check=True, stdout=subprocess.PIPE, text=True).stdout
            self.assertIn(f"{facts['codec']},video", streams)
            self.assertIn(",audio", streams)
        self.assertEqual(codecs, {"h264", "hevc", "vp9", "mpeg4", "av1"})
        self.assertEqual(len(motions), 8)

    def test_slides_go_where_the_label_says(self):
        ways = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
        checked = set()
        for video, facts, _ in clips(self.folder.name):
            if facts["motion"] not in ways:
                continue
            width, height = facts["width"], facts["height"]
            frames = gray_frames(video, width, height)
            way = ways[facts["motion"]]
            expected = (way[0] * facts["speed"], way[1] * facts["speed"])
            found = best_shift(frames[20], frames[21], width, height)
            self.assertLessEqual(max(abs(found[0] - expected[0]), abs(found[1] - expected[1])), 1,
                                 f"{video}: {facts}: {found}")
            checked.add(facts["motion"])
        self.assertEqual(checked, set(ways))

    def test_a_fifth_is_held_out(self):
        held = [v for v, facts, _ in clips(self.folder.name) if facts["split"] == "heldout"]
        self.assertEqual(len(held), COUNT // 5)

    def test_same_arguments_same_bytes_and_nothing_to_do_is_quiet(self):
        self.assertEqual(make(self.folder.name), "")
        with tempfile.TemporaryDirectory() as other:
            self.assertIn(str(COUNT), make(other, "--jobs", "1"))
            for split in ("train", "heldout"):
                for name in os.listdir(os.path.join(other, split)):
                    with open(os.path.join(other, split, name), "rb") as a, \
                            open(os.path.join(self.folder.name, split, name), "rb") as b:
                        self.assertEqual(a.read(), b.read(), name)


if __name__ == "__main__":
    unittest.main()
