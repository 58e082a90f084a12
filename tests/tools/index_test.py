#!/usr/bin/env python3
"""`shardreel index` against tarfile, ffprobe and readers of the other formats written here.

    index_test.py SHARDREEL WORK_FOLDER [UNITTEST ARGUMENTS]
"""

import glob
import hashlib
import importlib
import io
import json
import os
import re
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tarfile
import time
import unittest

import sridx

SHARDREEL, WORK = sys.argv[1], sys.argv[2]
HERE = os.path.dirname(os.path.abspath(__file__))
TOOL = os.path.join(HERE, "..", "..", "tools", "make_clips.py")
MEDIA = os.environ.get("SHARDREEL_MEDIA_DIR") or os.path.join(HERE, "..", "..", "shared", "media")
CLIPS, SHARDS = os.path.join(WORK, "clips"), os.path.join(WORK, "shards")


def run(*arguments, status=0):
    finished = subprocess.run([SHARDREEL, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=300, check=False)
    finished.out, finished.err = finished.stdout.decode(), finished.stderr.decode()
    assert finished.returncode == status, (arguments, finished.returncode, finished.out, finished.err)
    return finished


def index(*arguments, status=0):
    return json.loads(run("index", *arguments, "--json", status=status).out)


def content(path):
    with open(path, "rb") as file:
        return file.read()


def fresh_folder(name):
    path = os.path.join(WORK, name)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    return path


def shards():
    return sorted(glob.glob(os.path.join(SHARDS, "*.tar")))


def write_tar(path, members, **options):
    with tarfile.open(path, "w", **options) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def setUpModule():
    os.makedirs(WORK, exist_ok=True)
    for folder in (CLIPS, SHARDS):
        shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, TOOL, CLIPS, "--count", "16"], check=True)
    subprocess.run([SHARDREEL, "pack", CLIPS, "--out", SHARDS, "--shard-samples", "4", "--overwrite"], check=True,
                   stdout=subprocess.DEVNULL)


class ContentTest(unittest.TestCase):
    def check_members(self, shard, path):
        """Every member of the index is where tarfile finds it. Returns how many there were."""
        with tarfile.open(shard, errors="surrogateescape") as tar:
            members = {member.offset: member for member in tar}
        data, count = content(shard), 0
        for sample in sridx.read_index(content(path))["samples"]:
            for field in sample["fields"]:
                member = members[field["offset"]]
                name = sample["key"] + b"." + field["written_name"]
                self.assertEqual(name, member.name.encode(errors="surrogateescape"))
                self.assertEqual(field["size"], member.size)
                self.assertEqual(field["contiguous"], not member.issparse(), name)
                if field["contiguous"]:
                    self.assertEqual(field["content_offset"], member.offset_data)
                count += 1
            if sample["fields"]:
                self.assertEqual(sample["offset"], sample["fields"][0]["offset"])
                self.assertEqual(sample["end_offset"] % 512, 0)
                # What begins there is the next header or the end of the archive.
                self.assertTrue(sample["end_offset"] in members or
                                not data[sample["end_offset"]:sample["end_offset"] + 512].strip(b"\0"), name)
        return count

    def check_videos(self, shard, path):
        """Packets are those of ffprobe, and their bytes lie where the index says."""
        count, data = 0, content(shard)
        inspected = subprocess.run([SHARDREEL, "inspect", shard, "--json"], check=False, stdout=subprocess.PIPE).stdout
        taken = {line["ordinal"]: str(line["video"]["stream"]) for line in map(json.loads, inspected.splitlines())
                 if "stream" in line.get("video", {})}
        for sample in sridx.read_index(content(path))["samples"]:
            if "video" not in sample:
                continue
            video = sample["video"]
            field = next(field for field in sample["fields"] if field["name"].decode() == video["field"])
            begin = field["content_offset"]
            clip = data[begin:begin + field["size"]]
            name = os.path.join(WORK, "clip." + video["field"])
            with open(name, "wb") as file:
                file.write(clip)
            probe = json.loads(subprocess.run(
                ["ffprobe", "-v", "error", "-select_streams", taken[sample["ordinal"]], "-show_packets", "-show_streams",
                 "-show_data_hash", "MD5", "-of", "json", name], check=True, stdout=subprocess.PIPE).stdout)
            stream = probe["streams"][0]
            self.assertEqual(video["codec"], stream["codec_name"])
            self.assertEqual("%d/%d" % video["time_base"], stream["time_base"])
            self.assertEqual((video["coded_width"], video["coded_height"]), (stream["width"], stream["height"]))
            self.assertEqual(video["pixel_format"], stream.get("pix_fmt", ""))
            self.assertEqual(len(video["packets"]), len(probe["packets"]))
            for mine, theirs in zip(video["packets"], probe["packets"]):
                self.assertEqual(mine["pts"], theirs.get("pts", sridx.NO_TIME))
                if "mov" in video["container"]:  # others hold none, and ffprobe makes them up
                    self.assertEqual(mine["dts"], theirs["dts"])
                self.assertEqual(mine["size"], int(theirs["size"]))
                if video["bits"] & 4:
                    packet = clip[mine["offset"]:mine["offset"] + mine["size"]]
                    self.assertEqual("MD5:" + hashlib.md5(packet).hexdigest(), theirs["data_hash"])
            count += 1
        return count

    def test_own_clips(self):
        folder = fresh_folder("own")
        report = index(*shards(), "--index-dir", folder)
        self.assertEqual((report["written"], report["samples"], report["failures"]), (4, 16, 0))
        for shard in report["shards"]:
            self.assertEqual(shard["index"], folder + os.path.abspath(shard["shard"]) + ".sridx")
            self.assertEqual(self.check_members(shard["shard"], shard["index"]), 12)
            self.assertEqual(self.check_videos(shard["shard"], shard["index"]), 4)

    def test_dialects(self):
        folder = fresh_folder("dialects")
        clip = content(sorted(glob.glob(CLIPS + "/*/*.mp4"))[0])
        long_name = "x/" * 60 + "k" * 120
        members = [("d/a.MP4", clip), ("d/a.Txt", b""), ("__meta__", b"left out"), (long_name + ".mp4", clip),
                   ("noext", b"left out"), ("é.mp4", clip), (long_name + "2.json", b"{}" * 300)]
        for name, dialect in (("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT)):
            shard = write_tar(os.path.join(folder, name + ".tar"), members, format=dialect)
            self.assertEqual(index(shard)["written"], 1)
            self.assertEqual(self.check_members(shard, shard + ".sridx"), 5)
            self.assertEqual(self.check_videos(shard, shard + ".sridx"), 3)
        sparse = os.path.join(folder, "s.mp4")
        with open(sparse, "wb") as file:
            file.write(clip)
            file.truncate(len(clip) + (4 << 20))
        for dialect in ("gnu", "posix"):
            shard = os.path.join(folder, dialect + "-sparse.tar")
            subprocess.run(["tar", "--sparse", "--format=" + dialect, "-cf", shard, "-C", folder, "s.mp4"], check=True)
            report = index(shard)
            self.assertEqual((report["samples"], report["videos"]), (1, 1))
            self.assertEqual(self.check_members(shard, shard + ".sridx"), 1)
            field = sridx.read_index(content(shard + ".sridx"))["samples"][0]["fields"][0]
            self.assertFalse(field["contiguous"])

    def test_shared_archives(self):
        paths = sorted(glob.glob(os.path.join(MEDIA, "tars", "*.tar")))
        if not paths:
            self.skipTest("no shared media")
        folder, members = fresh_folder("archives"), 0
        for path in paths:
            finished = subprocess.run([SHARDREEL, "index", path, "--index-dir", folder, "--json"],
                                      stdout=subprocess.PIPE, check=False)
            report = json.loads(finished.stdout)["shards"][0]
            self.assertEqual(finished.returncode, 0, report)
            try:
                members += self.check_members(path, report["index"])
            except (tarfile.ReadError, ValueError):
                pass  # the oracle cannot read it
        self.assertGreater(members, 300)

    def test_shared_videos(self):
        if not os.path.isdir(os.path.join(MEDIA, "real")):
            self.skipTest("no shared media")
        folder = fresh_folder("videos")
        run("pack", os.path.join(MEDIA, "real"), "--out", folder)
        report = index(*glob.glob(folder + "/*.tar"))
        self.assertEqual(report["samples"], report["videos"] + report["failures"])
        self.assertLess(report["index_bytes"], 0.01 * report["video_bytes"])
        checked = sum(self.check_videos(shard["shard"], shard["index"]) for shard in report["shards"])
        self.assertEqual(checked, report["videos"])
        print("real videos: %d, %.0f bytes each, %.2f bytes a frame, %.2f %% of the videos" % (
            checked, report["index_bytes"] / checked, report["index_bytes"] / report["frames"],
            100 * report["index_bytes"] / report["video_bytes"]))


class StateTest(unittest.TestCase):
    def test_jobs_decide_no_byte(self):
        seen = set()
        for jobs in (1, 2, 4):
            folder = fresh_folder("jobs")
            index(*shards(), "--index-dir", folder, "--jobs", str(jobs))
            files = sorted(glob.glob(folder + "/**/*.sridx", recursive=True))
            self.assertEqual(len(files), 4)
            seen.add(tuple(content(path) for path in files))
        self.assertEqual(len(seen), 1)

    def test_fresh_stale_missing(self):
        folder = fresh_folder("states")
        shard = shutil.copy(shards()[0], folder)
        self.assertEqual(index(shard, "--check", status=1)["missing"], 1)
        self.assertFalse(os.path.exists(shard + ".sridx"))
        self.assertEqual(index(shard)["written"], 1)
        before = os.stat(shard + ".sridx").st_mtime_ns
        os.utime(shard, (1, 1))  # times say nothing
        self.assertEqual(index(shard)["fresh"], 1)
        self.assertEqual(index(shard, "--check")["fresh"], 1)
        self.assertEqual(os.stat(shard + ".sridx").st_mtime_ns, before)
        self.assertEqual(index(shard, "--force")["written"], 1)
        self.assertEqual(index(shard, "--check", "--video-fields", "webm", status=1)["stale"], 1)

        shutil.copy(shards()[1], shard)
        report = index(shard, "--check", status=1)
        self.assertEqual(report["stale"], 1)
        for word in (shard + "'", shard + ".sridx'", "bytes"):
            self.assertIn(word, report["shards"][0]["reason"])
        self.assertEqual(index(shard)["written"], 1)
        for damage in (lambda data: data[:-1], lambda data: data[:8] + b"\x09" + data[9:], lambda data: b"",
                       lambda data: data[:-20] + bytes([data[-20] ^ 1]) + data[-19:]):  # in a video's block
            data = damage(content(shard + ".sridx"))
            with open(shard + ".sridx", "wb") as file:
                file.write(data)
            self.assertEqual(index(shard, "--check", status=1)["stale"], 1)
            report = json.loads(run("verify", shard, "--json", status=1).out)
            self.assertEqual(report["findings_by_kind"], {"index": 1})
            self.assertEqual(index(shard)["written"], 1)
        self.assertEqual(index(shard, "--check")["fresh"], 1)

    def test_names_do_nothing_to_terminals(self):
        shard = shutil.copy(shards()[0], os.path.join(fresh_folder("terminal"), "\x1b[31m\n.tar"))
        self.assertIn("\\x1b[31m\\x0a.tar: written", run("index", shard).out)
        os.truncate(shard + ".sridx", 100)
        said = run("feed", shard, "--num-frames", "2").err
        self.assertIn("warning: the index of ", said)
        self.assertNotIn("\x1b", said)

    def test_a_shard_given_twice_is_indexed_once(self):
        folder = fresh_folder("twice")
        shard = shutil.copy(shards()[0], folder)
        report = index(shard, "file:" + shard, os.path.join(folder, ".", os.path.basename(shard)))
        self.assertEqual(report["written"], 1)

    def test_bad_samples_are_recorded(self):
        folder = fresh_folder("bad")
        clip = content(sorted(glob.glob(CLIPS + "/*/*.mp4"))[0])
        shard = write_tar(os.path.join(folder, "a.tar"), [
            ("a.mp4", clip), ("b.mp4", b"this is no video"), ("c.txt", b"none"), ("d.mp4", clip), ("d.MP4", clip),
            ("e.mp4", clip), ("f.__bad__", b"1"), ("g.mp4", clip)])
        report = index(shard)
        self.assertEqual(report["failures_by_reason"], {"not_media": 1, "no_video": 1, "duplicate_field": 1})
        samples = sridx.read_index(content(shard + ".sridx"))["samples"]
        self.assertEqual([(sample["key"], sample["ordinal"]) for sample in samples],
                         [(b"a", 0), (b"b", 1), (b"c", 2), (b"d", 3), (b"e", 4), (b"g", 6)])
        self.assertEqual([sample.get("failure") for sample in samples],
                         [None, "not_media", "no_video", "duplicate_field", None, None])
        cut = os.path.join(folder, "cut.tar")
        with open(cut, "wb") as file:
            file.write(content(shards()[0])[:-20000])
        report = index(cut)
        self.assertEqual(report["failures_by_reason"], {"truncated": 1})
        self.assertEqual(report["videos"], 3)

    def test_compressed_and_streams(self):
        folder = fresh_folder("compressed")
        packed = os.path.join(folder, "a.tar.gz")
        with open(packed, "wb") as file:
            subprocess.run(["gzip", "-c", shards()[0]], stdout=file, check=True)
        plain = index(shards()[0], "--index-dir", folder)
        report = index(packed)
        self.assertFalse(report["shards"][0]["seekable"])
        self.assertEqual((report["frames"], report["videos"]), (plain["frames"], plain["videos"]))
        self.assertEqual(index(packed, "--check")["fresh"], 1)
        mine, theirs = (sridx.read_index(content(path))["samples"]
                        for path in (packed + ".sridx", plain["shards"][0]["index"]))
        self.assertEqual(mine, theirs)
        for url, reason in (("pipe:cat " + shards()[0], "only files"), ("-", "only files"),
                            ("https://host/a.tar", "--index-dir")):
            report = index(url, status=1)
            self.assertIn(reason, report["shards"][0]["reason"])
        self.assertEqual(index(os.path.join(folder, "none.tar"), status=1)["failed"], 1)

    def test_usage_is_2(self):
        for arguments in ([], ["a.tar", "--jobs", "0"], ["a.tar", "--check", "--force"], ["{a"],
                          ["a.tar", "--format", "lmdb"], ["a.tar", "--check", "--format", "dali"]):
            self.assertTrue(run("index", *arguments, status=2).err)

    def test_text(self):
        folder = fresh_folder("text")
        out = run("index", *shards(), "--index-dir", folder).out
        self.assertRegex(out, r"shard-000000\.tar: written, 4 samples, \d+ frames, 0 failures, ")
        self.assertRegex(out, r"4 shards: 4 written; 16 samples, ")
        self.assertRegex(run("index", *shards(), "--index-dir", folder, "--check").out, r"^4 shards: 4 fresh; ")

    def test_interrupted(self):
        folder = fresh_folder("interrupted")
        for number in range(400):
            os.link(shards()[number % 4], "%s/%04d.tar" % (folder, number))
        pattern = folder + "/{0000..0399}.tar"
        with subprocess.Popen([SHARDREEL, "index", pattern, "--jobs", "2"], stdout=subprocess.PIPE) as process:
            deadline = time.monotonic() + 60
            while len(glob.glob(folder + "/*.sridx")) < 3 and process.poll() is None:
                self.assertLess(time.monotonic(), deadline)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
        made = glob.glob(folder + "/*.sridx")
        self.assertEqual(process.returncode, 130)
        self.assertLess(len(made), 400)
        for path in made:
            sridx.read_index(content(path))
        self.assertEqual(len(os.listdir(folder)), 400 + len(made), "half-written files stayed")
        report = index(pattern)
        self.assertEqual((report["fresh"], report["written"]), (len(made), 400 - len(made)))


class CompanionTest(unittest.TestCase):
    """Readers of the other formats, written here from their descriptions."""

    def members(self, shard):
        """Samples as (key, {field: bytes}) in order, by tarfile."""
        samples = []
        with tarfile.open(shard) as tar:
            for member in tar:
                match = re.fullmatch(r"((?:.*/|)[^.]+)[.]([^/]*)", member.name)
                if not member.isreg() or not match:
                    continue
                if not samples or samples[-1][0] != match[1]:
                    samples.append((match[1], {}))
                samples[-1][1][match[2]] = tar.extractfile(member).read()
        return samples

    def folder(self, name):
        folder = fresh_folder(name)
        paths = []
        for number, shard in enumerate(shards()):
            os.makedirs(os.path.join(folder, str(number % 2)), exist_ok=True)
            paths.append(shutil.copy(shard, os.path.join(folder, str(number % 2))))
        members = [("d.v1/k%02d.%s" % (number, field), b"%d" % number * number)
                   for number in range(20) for field in ("seg.PNG", "txt")]
        paths.append(write_tar(os.path.join(folder, "small.tar"), members))
        return folder, sorted(paths)

    def check_energon(self, root, paths, meta):
        info = json.loads(content(os.path.join(meta, ".nv-meta", ".info.json")))
        names = [os.path.relpath(path, root) for path in paths]
        self.assertEqual(list(info["shard_counts"]), names)
        self.assertRegex(content(os.path.join(meta, ".nv-meta", "index.uuid")).decode(),
                         r"^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")
        with sqlite3.connect(os.path.join(meta, ".nv-meta", "index.sqlite")) as database:
            self.assertEqual(database.execute("PRAGMA integrity_check").fetchone(), ("ok",))
            for number, path in enumerate(paths):
                data, expected = content(path), self.members(path)
                self.assertEqual(info["shard_counts"][names[number]], len(expected))
                raw = content(os.path.join(meta, names[number]) + ".idx")
                offsets = struct.unpack("%dQ" % (len(raw) // 8), raw)
                self.assertEqual(len(offsets), len(expected) + 1)
                rows = database.execute("SELECT sample_key, sample_index, byte_offset, byte_size FROM samples "
                                        "WHERE tar_file_id = ? ORDER BY sample_index", (number,)).fetchall()
                self.assertEqual(len(rows), len(expected))
                for (key, fields), row, begin, end in zip(expected, rows, offsets, offsets[1:]):
                    # Energon opens the bytes from one offset to the next as a tar of their own.
                    with tarfile.open(fileobj=io.BytesIO(data[begin:end])) as tar:
                        self.assertEqual({member.name: tar.extractfile(member).read() for member in tar},
                                         {key + "." + name: value for name, value in fields.items()})
                    self.assertEqual((row[0], row[2], row[3]), (key, begin, end - begin))
                    parts = database.execute("SELECT part_name, content_byte_offset, content_byte_size FROM "
                                             "sample_parts WHERE tar_file_id = ? AND sample_index = ?",
                                             (number, row[1])).fetchall()
                    self.assertEqual({name: data[offset:offset + size] for name, offset, size in parts}, fields)

    def test_energon(self):
        root, paths = self.folder("energon")
        run("index", *paths, "--format", "energon")
        self.check_energon(root, paths, root)
        elsewhere = fresh_folder("energon-elsewhere")
        first = index(*paths, "--format", "energon", "--index-dir", elsewhere)
        self.check_energon(root, paths, elsewhere)
        before = {path: content(path) for path in first["files"]}
        index(*paths, "--format", "energon", "--index-dir", elsewhere, "--jobs", "1")
        self.assertEqual(before, {path: content(path) for path in first["files"]})

    def test_energon_takes_each_key_once(self):
        root, paths = self.folder("energon-twice")
        twice = shutil.copy(paths[-1], os.path.join(root, "twice.tar"))
        err = run("index", paths[-1], twice, "--format", "energon", status=1).err
        self.assertIn("twice", err)
        self.assertIn("d.v1/k00", err)
        self.assertEqual(glob.glob(root + "/.nv-meta/*sqlite*"), [])

    def test_dali(self):
        _, paths = self.folder("dali")
        run("index", *paths, "--format", "dali")
        for path in paths:
            data, expected = content(path), self.members(path)
            lines = content(path[:-len(".tar")] + ".idx").decode().split("\n")
            self.assertEqual(lines[0], "v1.2 %d" % len(expected))
            self.assertEqual(lines[-1], "")
            self.assertEqual(len(lines), len(expected) + 2)
            for line, (key, fields) in zip(lines[1:], expected):
                words, found = line.split(" "), {}
                for extension, offset, size, name in zip(*(words[i::4] for i in range(4))):
                    self.assertEqual(int(offset) % 512, 0)
                    self.assertEqual(name, key + "." + extension)
                    found[extension] = data[int(offset):int(offset) + int(size)]
                self.assertEqual(found, fields)

    def check_wids(self, base, index_file, paths):
        described = json.loads(content(index_file))
        self.assertEqual((described["__kind__"], described["wids_version"]), ("wids-shard-index-v1", 1))
        self.assertEqual(len(described["shardlist"]), len(paths))
        for shard, path in zip(described["shardlist"], paths):
            self.assertEqual(os.path.join(base, shard["url"]), path)
            self.assertEqual(shard["nsamples"], len(self.members(path)))
            self.assertEqual(shard["filesize"], os.path.getsize(path))

    def test_wids(self):
        root, paths = self.folder("wids")
        run("index", *paths, "--format", "wids")
        self.check_wids(root, root + "/wids.json", paths)
        elsewhere = fresh_folder("wids-elsewhere")
        run("index", *paths, "--format", "wids", "--index-dir", elsewhere)
        self.check_wids(root, elsewhere + "/wids.json", paths)

    def test_wids_itself(self):
        try:
            wids = importlib.import_module("wids")
        except ImportError as error:
            self.skipTest("the wids of Python webdataset: %s" % error)
        root, paths = self.folder("wids-itself")
        run("index", *paths, "--format", "wids")
        dataset = wids.ShardListDataset(root + "/wids.json", cache_dir=fresh_folder("wids-cache"), transformations=[])
        expected = [sample for path in paths for sample in self.members(path)]
        self.assertEqual(len(dataset), len(expected))
        for number, (key, fields) in enumerate(expected):
            sample = dataset[number]
            self.assertEqual(sample["__key__"], key)
            self.assertEqual({name[1:]: value if isinstance(value, bytes) else value.read()
                              for name, value in sample.items() if name.startswith(".")}, fields)

    def test_refused(self):
        folder = fresh_folder("refused")
        cases = [("dali", [("a b.txt", b"1")], "white space"), ("wids", [("a" * 200 + ".txt", b"1")], "extended header"),
                 ("wids", [("a.txt", b"1"), ("__meta__", b"2"), ("b.txt", b"1")], "belongs to no sample"),
                 ("dali", [("a.txt", b"1"), ("README", b"2")], "belongs to no sample"),
                 ("energon", [("a.txt", b"1"), ("a.txt", b"2")], "twice"), ("dali", [], "no samples"),
                 ("energon", [("a.txt", b"1"), ("b.__bad__", b"1"), ("c.txt", b"1")], "__bad__")]
        for format_name, members, word in cases:
            shard = write_tar(os.path.join(folder, "a.tar"), members)
            self.assertIn(word, run("index", shard, "--format", format_name, status=1).err)
            self.assertEqual(os.listdir(folder), ["a.tar"])
        packed = write_tar(os.path.join(folder, "a.tar"), [("a.txt", b"1")]) + ".gz"
        subprocess.run(["gzip", "-k", packed[:-3]], check=True)
        self.assertIn("compressed", run("index", packed, "--format", "wids", status=1).err)
        cut = os.path.join(folder, "cut.tar")
        with open(cut, "wb") as file:
            file.write(content(shards()[0])[:-20000])
        self.assertIn("cut at byte", run("index", cut, "--format", "energon", status=1).err)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
