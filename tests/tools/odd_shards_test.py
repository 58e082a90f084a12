#!/usr/bin/env python3
"""Shards as people have them, through the program: other containers and writers, names with dots and bytes
that are no text, archives with nothing in them, usage errors for a machine.

    odd_shards_test.py SHARDREEL WORK_FOLDER [UNITTEST ARGUMENTS]

What is right is said by the ffmpeg program, by Python's tarfile, or by the bytes written here.
"""

import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import unittest

SHARDREEL, WORK = sys.argv[1], sys.argv[2]
SMALL = ["--width", "64", "--height", "48", "--batch-size", "1", "--shuffle", "none", "--memory-bytes", "512MiB",
         "--min-fill", "2", "--color", "gray", "--resize-mode", "stretch"]
FIVE = ["--num-frames", "5"]


def run(*arguments, status=0):
    done = subprocess.run([SHARDREEL, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=120, check=False)
    done.out, done.err = done.stdout.decode(), done.stderr.decode()
    assert status is None or done.returncode == status, (arguments, done.returncode, done.out, done.err)
    return done


def feed(*arguments, status=0, frames=5):
    return json.loads(run("feed", *SMALL, "--num-frames", str(frames), *arguments, "--json", status=status).out)


def path(name):
    return os.path.join(WORK, name)


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin", "-y", "-threads", "1", *arguments],
                   check=True)


def video(name, *arguments, frames=25):
    """A video with moving pictures, 64x48 at 25 fps."""
    out = path(name)
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25", "-frames:v", str(frames), *arguments, out)
    with open(out, "rb") as file:
        return file.read()


def frames_of(name):
    shown = subprocess.run(["ffmpeg", "-loglevel", "error", "-i", path(name), "-vsync", "passthrough", "-f", "framemd5",
                            "-"], stdout=subprocess.PIPE, check=True).stdout.decode()
    return sum(not line.startswith("#") for line in shown.splitlines())


def member(name, data, kind=b"0"):
    """One member, by hand: names are any bytes."""
    head = bytearray(name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + b"%011o\0" % len(data) +
                     b"%011o\0" % 0 + b" " * 8 + kind + b"\0" * 100 + b"ustar\x0000").ljust(512, b"\0")
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + data + b"\0" * (-len(data) % 512)


def shard(name, *members, end=1024):
    with open(path(name), "wb") as file:
        file.write(b"".join(members) + b"\0" * end)
    return path(name)


def verify(*arguments, status=1):
    report = json.loads(run("verify", *arguments, "--json", status=status).out)
    return report["findings"]


def setUpModule():
    shutil.rmtree(WORK, ignore_errors=True)
    os.makedirs(WORK)
    global MP4
    MP4 = video("even.mp4", "-c:v", "libx264", "-bf", "0", "-pix_fmt", "yuv420p")


class ContainerTest(unittest.TestCase):
    CONTAINERS = {"asf": ["-c:v", "wmv2", "-q:v", "2"], "gif": [], "m2v": ["-c:v", "mpeg2video", "-q:v", "2"],
                  "vob": ["-c:v", "mpeg2video", "-q:v", "2", "-bf", "2"], "3g2": ["-c:v", "libx264", "-bf", "2"],
                  "mxf": ["-c:v", "mpeg2video", "-q:v", "2", "-bf", "2"]}

    def test_each_feeds_all_its_frames(self):
        for name, arguments in self.CONTAINERS.items():
            with self.subTest(name):
                data = video("clip." + name, *arguments)
                self.assertEqual(frames_of("clip." + name), 25)
                one = shard(name + ".tar", member(b"a." + name.encode(), data), member(b"a.cls", b"1"))
                self.assertEqual(verify(one, "--deep", status=0), [])
                plain = feed(one, "--index-dir", path("none"))
                self.assertEqual((plain["clips"], plain["frames"]), (5, 25))
                run("index", one)
                indexed = feed(one)
                self.assertEqual(indexed["pixel_digest"], plain["pixel_digest"])
                self.assertEqual(indexed["order_digest"], plain["order_digest"])

    def test_webp(self):
        data = video("still.webp", "-c:v", "libwebp", frames=1)
        still = shard("still.tar", member(b"a.webp", data))
        report = feed(still, frames=1)
        self.assertEqual((report["clips"], report["frames"]), (1, 1))
        moving = video("moving.webp", "-c:v", "libwebp_anim", "-loop", "0")
        self.assertIn(b"ANIM", moving)
        report = feed(shard("moving.tar", member(b"a.webp", moving)), status=1)
        self.assertEqual(report["clips"], 0)
        self.assertIn("webp", report["error"]["message"])
        self.assertIn("key a", report["error"]["message"])

    def test_a_picture_beside_a_video_is_a_field(self):
        webp, gif = video("thumb.webp", "-c:v", "libwebp", frames=1), video("thumb.gif", frames=3)
        both = [shard("thumbs%d.tar" % i, member(b"a.gif", gif), member(b"a.mkv" if i else b"a.mp4", MP4),
                      member(b"a.webp", webp), member(b"b.mp4", MP4), member(b"b.webp", webp)) for i in range(2)]
        alone = shard("alone.tar", member(b"a.mp4", MP4), member(b"b.mp4", MP4))
        for one in both:
            report = feed(one)
            self.assertEqual(report["pixel_digest"], feed(alone)["pixel_digest"])
        # As before, what has the picture's name counts for itself: nothing is said to be missing.
        self.assertEqual([f["kind"] for f in verify(both[0], "--deep", status=0)], [])
        lost = shard("lost.tar", *[m for k in b"abcdefgh" for m in
                                   (member(b"%c.mp4" % k, MP4), member(b"%c.webp" % k, webp))], member(b"i.webp", webp))
        self.assertEqual([(f["kind"], f["key"]) for f in verify(lost)], [("missing_field", "i")])

    def test_pack_keeps_pictures_beside_their_videos(self):
        folder = path("folder")
        os.makedirs(folder)
        webp, gif = video("p.webp", "-c:v", "libwebp", frames=1), video("p.gif", frames=3)
        for name, data in (("a.mp4", MP4), ("a.gif", gif), ("a.webp", webp), ("a.thumb.webp", webp), ("b.gif", gif)):
            with open(os.path.join(folder, name), "wb") as file:
                file.write(data)
        report = json.loads(run("pack", folder, "--out", path("packed"), "--json").out)
        self.assertEqual((report["samples"], report["refused"]), (2, []))
        with tarfile.open(report["shards"][0]["path"]) as tar:
            self.assertEqual(sorted(tar.getnames()), ["a.gif", "a.mp4", "a.thumb.webp", "a.webp", "b.gif"])
        listed = json.loads(run("pack", os.path.join(folder, "a.mp4"), "--out", path("packed1"), "--json").out)
        with tarfile.open(listed["shards"][0]["path"]) as tar:
            self.assertEqual(sorted(tar.getnames()), ["a.gif", "a.mp4", "a.thumb.webp", "a.webp"])


class EndTest(unittest.TestCase):
    """What writers put behind the last member."""

    def test_whole_archives(self):
        whole = member(b"a.mp4", MP4) + member(b"a.json", b"{}")
        # Go and Rust: two blocks; others fill records of some size (GNU tar -b, pax, bsdtar's 512 bytes and more).
        for zeros in (1024, 1536, 4096, 10240, 20480, (1 << 20) - len(whole) % (1 << 20)):
            one = shard("end.tar", whole, end=zeros)
            self.assertEqual(verify(one, status=0), [], zeros)
            self.assertEqual(feed(one)["samples"], 1)
            with gzip.open(path("end.tar.gz"), "wb") as file:
                file.write(whole + b"\0" * zeros)
            self.assertEqual(verify(path("end.tar.gz"), status=0), [], zeros)

    def test_writers_that_are_here(self):
        with open(path("w.mp4"), "wb") as file:
            file.write(MP4)
        made = path("writer.tar")
        for command in (["tar", "-b", "1"], ["tar", "-b", "7"], ["tar", "--format=pax"], ["bsdtar"],
                        ["bsdtar", "-b", "1"], ["bsdtar", "--format", "pax", "-b", "3"]):
            if shutil.which(command[0]) is None:
                continue
            subprocess.run([*command, "-cf", made, "-C", WORK, "w.mp4"], check=True)
            self.assertEqual(verify(made, status=0), [], command)

    def test_cuts_are_found(self):
        whole = member(b"a.mp4", MP4) + member(b"a.json", b"{}")
        for zeros in (0, 512, 1000, 1300):
            found = verify(shard("cut.tar", whole, end=zeros))
            self.assertEqual([f["kind"] for f in found], ["archive_cut"], zeros)
        with gzip.open(path("cut.tar.gz"), "wb") as file:
            file.write(whole)
        self.assertEqual([f["kind"] for f in verify(path("cut.tar.gz"))], ["archive_cut"])


class NameTest(unittest.TestCase):
    def setUp(self):
        self.dots = shard("dots.tar", member(b"Track 2.0 (x).mp4", MP4), member(b"path/22.0/1.1.mp4", MP4),
                          member(b"train.v1/0001.mp4", MP4))

    def test_a_field_that_begins_at_the_first_dot(self):
        found = {f["key"]: f for f in verify(self.dots)}
        self.assertEqual(set(found), {"Track 2", "path/22.0/1"})
        for finding in found.values():
            self.assertEqual((finding["kind"], finding["severity"]), ("unlisted_video", "warning"))
            self.assertIn("first dot", finding["message"])
            self.assertIn("video_fields", finding["message"])
        self.assertEqual(found["Track 2"]["field"], "0 (x).mp4")
        # The value takes all.
        value = found["Track 2"]["message"].split("--video-fields '")[-1].split("'")[0]
        self.assertEqual(set(value.split(",")), {"mp4", "0 (x).mp4", "1.mp4"})
        report = feed(self.dots, "--video-fields", value)
        self.assertEqual((report["samples"], report["clips"]), (3, 15))
        self.assertEqual(verify(self.dots, "--video-fields", value, status=0), [])

    def test_feed_says_so_too(self):
        report = feed(self.dots, status=1)
        failure = report["details"]["first_failures"][0]
        self.assertEqual((failure["code"], failure["key"]), ("no_video", "Track 2"))
        self.assertIn('video_fields = ["0 (x).mp4"]', failure["message"])
        self.assertIn("first dot", failure["message"])

    def test_content_tells_where_the_name_does_not(self):
        with open(path("even.mp4"), "rb") as file:
            data = file.read()
        found = verify(shard("blob.tar", member(b"a.bin", data), member(b"a.cls", b"1"), member(b"b.rmvb", data)))
        self.assertEqual([(f["kind"], f["key"], f["field"]) for f in found],
                         [("unlisted_video", "a", "bin"), ("unlisted_video", "b", "rmvb")])
        # A sample that has a video lacks none, and a sound is none.
        ffmpeg("-f", "lavfi", "-i", "sine=d=1", path("sound.m4a"))
        with open(path("sound.m4a"), "rb") as file:
            sound = file.read()
        self.assertEqual(verify(shard("more.tar", member(b"a.mp4", MP4), member(b"a.left.mp4", MP4),
                                      member(b"a.m4a", sound)), status=0), [])
        self.assertEqual(verify(shard("sounds.tar", member(b"a.m4a", sound), member(b"a.cls", b"1")), status=0), [])

    def test_repair_keeps_them(self):
        report = json.loads(run("verify", self.dots, "--repair", path("repaired"), "--json", status=1).out)
        self.assertEqual((report["repair"]["samples"], report["repair"]["left_out_count"]), (3, 0))

    def test_two_names_stay_two(self):
        both = shard(os.fsdecode(b"bytes\xe9.tar"), member(b"caf\xe9/1.mp4", MP4), member(b"caf\xe8/1.mp4", MP4),
                     member(b"x\xe8.mp4", b"?"))
        keys = ["636166e92f31", "636166e82f31"]
        feed(both, "--clips-out", path("clips.jsonl"), "--max-skip-ratio", "1")
        with open(path("clips.jsonl"), encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        self.assertEqual({line["key_hex"] for line in lines}, set(keys))
        self.assertTrue(all("shard_hex" in line for line in lines))
        failure = feed(both, "--max-skip-ratio", "1")["details"]["first_failures"][0]
        self.assertEqual(failure["key_hex"], "78e8")
        self.assertTrue(bytes.fromhex(failure["shard_hex"]).endswith(b"bytes\xe9.tar"))
        self.assertEqual(verify(both)[0]["key_hex"], "78e8")
        index = json.loads(run("index", both, "--json").out)["shards"][0]
        self.assertTrue(bytes.fromhex(index["shard_hex"]).endswith(b"bytes\xe9.tar"))
        self.assertTrue(bytes.fromhex(index["index_hex"]).endswith(b"bytes\xe9.tar.sridx"))

    def test_a_state_knows_names_that_are_no_text(self):
        both = shard("filtered.tar", member(b"caf\xe9/1.mp4", MP4), member(b"caf\xe8/1.mp4", MP4))
        asked = [both, "--filter", os.fsdecode(b"key=caf\xe9*"), "--state-out", path("state.json")]
        whole = feed(*asked)
        self.assertEqual(whole["clips"], 5)
        first = feed(*asked, "--max-batches", "2")
        rest = feed(*asked, "--resume", path("state.json"))
        self.assertEqual((first["clips"], rest["clips"]), (2, 3))
        other = [both, "--filter", os.fsdecode(b"key=caf\xe8*"), "--resume", path("state.json")]
        self.assertIn("filter", run("feed", *SMALL, *FIVE, *other, status=2).err)


class EmptyTest(unittest.TestCase):
    @staticmethod
    def empties():
        folder = io.BytesIO()
        with tarfile.open(fileobj=folder, mode="w") as tar:
            info = tarfile.TarInfo("folder")
            info.type = tarfile.DIRTYPE
            tar.addfile(info)
        made = {"blocks.tar": b"\0" * 10240, "two.tar": b"\0" * 1024, "folders.tar": folder.getvalue(),
                "nokey.tar": member(b"README", b"x") + b"\0" * 1024, "blocks.tar.gz": gzip.compress(b"\0" * 10240)}
        for name, data in made.items():
            with open(path(name), "wb") as file:
                file.write(data)
        return [path(name) for name in made]

    def test_archives_without_samples(self):
        good = shard("good.tar", member(b"a.mp4", MP4))
        for one in self.empties():
            self.assertEqual([(f["kind"], f["severity"], f["shard"]) for f in verify(one)],
                             [("empty_archive", "warning", one)])
            report = feed(one, status=1)
            self.assertEqual(report["error"]["code"], "empty_epoch")
            self.assertIn("1 shard without samples (the first: shard " + one, report["error"]["message"])
            self.assertIn(one, run("inspect", one).err)
            # Among others it is no loss, but is said.
            done = run("feed", *SMALL, *FIVE, "--max-skip-ratio", "0", good, one, "--json")
            self.assertIn(f"warning: shard {one} gives nothing", done.err)
            self.assertEqual(json.loads(done.out)["shards_failed"], 0)
            index = json.loads(run("index", one, "--json").out)
            self.assertEqual((index["written"], index["samples"]), (1, 0))
            self.assertIn(one, feed(one, status=1)["error"]["message"])  # also by its index

    def test_files_that_are_no_archives(self):
        good = shard("good.tar", member(b"a.mp4", MP4))
        no_archives = {"zero.tar": b"", "zero.tar.gz": gzip.compress(b""), "text.tar": b"hello, this is text\n" * 100,
                       "short.tar": b"<html>", "one.tar": b"\0" * 512}
        for name, data in no_archives.items():
            one = path(name)
            with open(one, "wb") as file:
                file.write(data)
            with self.subTest(name):
                self.assertIn(one, feed(one, status=1)["error"]["message"])
                self.assertEqual([(f["severity"], f["shard"]) for f in verify(one)], [("error", one)])
                self.assertIn(one, run("inspect", one, status=1).err)
                done = run("index", one, good, "--force", status=1)
                self.assertIn(f"{one}: failed: this is no archive", done.out)
                self.assertFalse(os.path.exists(one + ".sridx"))
                report = json.loads(run("index", one, good, "--json", "--force", status=1).out)
                self.assertEqual((report["failed"], report["written"], report["shards"][0]["shard"]), (1, 1, one))

    def test_the_last_words_tell_the_reasons(self):
        for name in ("a", "b"):
            shard(name + ".tar", member(b"x.mp4", b"no video at all" * 9), member(b"y.txt", b"1"),
                  member(b"z.mp4", b"no video at all" * 9))
        message = feed(path("a.tar"), path("b.tar"), self.empties()[0], "--max-skip-ratio", "1",
                       status=1)["error"]["message"]
        self.assertIn("of 3 shards 6 samples were seen", message)
        places = [message.index(words) for words in
                  ("4 samples not_media (the first: shard " + path("a.tar") + ", key x at byte 0: ",
                   "2 samples no_video (the first: shard ", "1 shard without samples (the first: ")]
        self.assertEqual(places, sorted(places))


class UsageTest(unittest.TestCase):
    def test_usage_errors_for_machines(self):
        for arguments in (["feed", "--dance"], ["feed"], ["feed", "a.tar", "--num-frames", "0"], ["dance"], [],
                          ["feed", "a.tar", "--memory-bytes", "1MiB"], ["feed", "{a"],
                          ["plan", "a.tar", "--width", "x"], ["plan", "--dance"], ["pack"], ["pack", "a.mp4"], ["pack", "--dance"], ["index"],
                          ["index", "{a"], ["index", "a.tar", "--jobs", "0"], ["inspect"], ["inspect", "{a"],
                          ["inspect", "a.tar", "--extract", "mp4"], ["verify"], ["verify", "{a"],
                          ["verify", "a.tar", "--fail-on", "tuesday"]):
            done = run(*arguments, "--json", status=2)
            lines = done.out.splitlines()
            self.assertEqual(len(lines), 1, (arguments, done.out))
            error = json.loads(lines[0])["error"]
            self.assertIn(error["code"], ("invalid_option", "memory"), arguments)
            self.assertTrue(error["message"], arguments)
            self.assertTrue(done.err, arguments)
        both = json.loads(run("feed", "a.tar", "--num-frames", "0", "--width", "0", "--json", status=2).out)
        for name in ("num_frames", "width"):
            self.assertIn(name, both["error"]["message"])


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
