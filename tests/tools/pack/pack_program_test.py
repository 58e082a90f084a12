#!/usr/bin/env python3
"""`shardreel pack` as its users meet it: inputs, members, manifests, splits, refusals; see pack_testing.py."""

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import unittest

from pack_testing import (CLIPS, FULL, MEDIA, SHARDREEL, WORK, content, fresh, keys_by_shard, make_clips, members, pack,
                          run)


class JsonTest(unittest.TestCase):
    """What `verify` would find wrong in a `.json` is refused, by the same checker."""

    def test_refused_as_verify_finds_it(self):
        clips = fresh("json_clips")
        os.makedirs(clips)
        source = next(os.path.join(at, name) for at, _, names in os.walk(CLIPS) for name in names
                      if name.endswith(".mp4"))
        texts = {"good": b'{"a": [1, null]}', "list": b"[1]", "cut": b'{"a": ', "text": b"hello", "empty": b"",
                 "two": b"{} {}", "bytes": b'{"a": "caf\xe9"}', "nan": b'{"a": NaN}', "mark": b"\xef\xbb\xbf{}"}
        for name, text in texts.items():
            shutil.copy(source, os.path.join(clips, name + ".mp4"))
            with open(os.path.join(clips, name + ".json"), "wb") as file:
                file.write(text)
        out = fresh("json")
        report = pack(clips, "--out", out)
        refused = {os.path.basename(one["path"])[:-4]: one for one in report["refused"]}
        self.assertEqual(set(refused), {"cut", "text", "empty", "two", "bytes", "nan"})
        for name, one in refused.items():
            self.assertEqual(one["code"], "unsupported")
            self.assertIn(f"{name}.json' is not JSON", one["reason"])
        self.assertEqual({name.split(".")[0] for name in members(out)}, {"good", "list", "mark"})
        by_hand = os.path.join(out, "by_hand.tar")
        with tarfile.open(by_hand, "w") as tar:
            for name in texts:
                tar.add(os.path.join(clips, name + ".json"), name + ".json")
        found = subprocess.run([SHARDREEL, "verify", by_hand, "--manifest", os.path.join(out, "none"), "--json"],
                               stdout=subprocess.PIPE, check=False).stdout
        kinds = {one["key"]: one["kind"] for one in json.loads(found)["findings"] if one["key"]}
        self.assertEqual(set(kinds), set(refused))

class SameBytesTest(unittest.TestCase):
    def test_jobs_and_runs_give_the_same(self):
        first = None
        for jobs in ("1", "2", "4", "2"):
            out = fresh("jobs")
            pack(CLIPS, "--out", out, "--shard-samples", "5", "--check", "decode", "--jobs", jobs)
            first = first or content(out)
            self.assertEqual(content(out), first, jobs)
        self.assertEqual(len(first), 6)  # five shards and the manifest

    def test_members_are_the_sources(self):
        out = fresh("members")
        pack(CLIPS, "--out", out, "--shard-bytes", "200kB")
        packed = members(out)
        sources = {}
        for at, _, names in os.walk(CLIPS):
            for name in names:
                path = os.path.join(at, name)
                with open(path, "rb") as file:
                    sources[os.path.relpath(path, CLIPS)] = file.read()
        self.assertEqual({n: c for n, (_, c) in packed.items()}, sources)

    def test_the_manifest_says_what_is_there(self):
        out = fresh("manifest")
        pack(CLIPS, "--out", out, "--shard-samples", "5", "--split", "train=0.7,val=0.3")
        with open(os.path.join(out, "dataset.json"), encoding="utf-8") as file:
            manifest = json.load(file)
        on_disk = content(out)
        shards = {name for name in on_disk if name.endswith(".tar")}
        self.assertEqual({s["name"] for s in manifest["shards"]}, shards)
        for shard in manifest["shards"]:
            path = os.path.join(out, shard["name"])
            self.assertEqual(shard["sha256"], on_disk[shard["name"]])
            self.assertEqual(shard["bytes"], os.path.getsize(path))
            with tarfile.open(path) as tar:
                infos = tar.getmembers()
            self.assertEqual(shard["payload_bytes"], sum(info.size for info in infos))
            self.assertEqual(shard["samples"], len({info.name.split(".")[0] for info in infos}))
            self.assertTrue(shard["name"].startswith(shard["split"] + "-"))
        for name in ("samples", "bytes", "payload_bytes", "frames"):
            self.assertEqual(manifest[name], sum(s[name] for s in manifest["shards"]))
        frames = 0  # told by the clips' own sidecars
        for at, _, names in os.walk(CLIPS):
            for name in names:
                if name.endswith(".json"):
                    with open(os.path.join(at, name), encoding="utf-8") as file:
                        frames += json.load(file)["frames"]
        self.assertEqual(manifest["frames"], frames)
        self.assertEqual(sum(manifest["codecs"].values()), 24)
        self.assertEqual(sum(manifest["sizes"].values()), 24)

    def test_shuffle_and_balance(self):
        plain, mixed = fresh("plain"), fresh("mixed")
        pack(CLIPS, "--out", plain)
        pack(CLIPS, "--out", mixed, "--shuffle", "3")
        self.assertNotEqual(list(members(plain)), list(members(mixed)))
        self.assertEqual(set(members(plain)), set(members(mixed)))
        for by, field in (("bytes", "payload_bytes"), ("frames", "frames"), ("seconds", "seconds")):
            out = fresh("balance")
            report = pack(CLIPS, "--out", out, "--shard-samples", "6", "--balance", by)
            loads = [s[field] for s in report["shards"]]
            self.assertEqual(len(loads), 4)
            self.assertLess(max(loads) - min(loads), 0.35 * max(loads), (by, loads))
            again = fresh("again")
            pack(CLIPS, "--out", again, "--shard-samples", "6", "--balance", by, "--jobs", "3")
            self.assertEqual(content(again), content(out))
            dry = pack(CLIPS, "--dry-run", "--shard-samples", "6", "--balance", by)
            self.assertEqual([(s["name"], s["samples"], s["payload_bytes"]) for s in dry["shards"]],
                             [(s["name"], s["samples"], s["payload_bytes"]) for s in report["shards"]])

    def test_dry_run_writes_nothing(self):
        out = fresh("dry")
        dry = pack(CLIPS, "--out", out, "--dry-run", "--shard-bytes", "300kB")
        self.assertFalse(os.path.exists(out))
        real = pack(CLIPS, "--out", out, "--shard-bytes", "300kB")
        self.assertEqual([s["name"] for s in dry["shards"]], [s["name"] for s in real["shards"]])
        self.assertEqual([s["payload_bytes"] for s in dry["shards"]], [s["payload_bytes"] for s in real["shards"]])


class InputsTest(unittest.TestCase):
    def test_lists_and_manifests(self):
        videos = sorted(os.path.relpath(os.path.join(at, n), CLIPS) for at, _, names in os.walk(CLIPS)
                        for n in names if n.rsplit(".", 1)[1] in ("mp4", "mkv", "webm", "avi"))[:5]
        with open(os.path.join(CLIPS, "list"), "w", encoding="utf-8") as file:
            file.writelines(os.path.join(CLIPS, v) + "\n" for v in videos)
        with open(os.path.join(CLIPS, "m.jsonl"), "w", encoding="utf-8") as file:
            file.writelines(json.dumps({"path": v, "label": i, "motion": "mine"}) + "\n" for i, v in enumerate(videos))
        with open(os.path.join(CLIPS, "m.csv"), "w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["label", "path", "motion"])
            rows.writerows([i, v, "mine"] for i, v in enumerate(videos))
        self.addCleanup(lambda: [os.remove(os.path.join(CLIPS, n)) for n in ("list", "m.jsonl", "m.csv")])
        expected = [v.rsplit(".", 1)[0] for v in videos]
        outs = []
        for source in ("@" + os.path.join(CLIPS, "list"), os.path.join(CLIPS, "m.jsonl"), os.path.join(CLIPS, "m.csv")):
            out = fresh("listed")
            pack(source, "--root", CLIPS, "--out", out)
            packed = members(out)
            self.assertEqual(list(dict.fromkeys(n.split(".")[0] for n in packed)), expected)
            outs.append(packed)
        for i, key in enumerate(expected):
            with open(os.path.join(CLIPS, key + ".json"), encoding="utf-8") as file:
                sidecar = json.load(file)
            self.assertEqual(json.loads(outs[0][key + ".json"][1]), sidecar)
            for packed in outs[1:]:
                self.assertEqual(json.loads(packed[key + ".json"][1]), {**sidecar, "label": i, "motion": "mine"})
        self.assertEqual(run("@/no/such", "--out", fresh("listed")).returncode, 1)

    def test_segments(self):
        out = fresh("segments")
        report = pack(CLIPS, "--out", out, "--segment-seconds", "0.5", "--split", "a=0.5,b=0.5", "--jobs", "2")
        self.assertGreater(report["samples"], 24)
        splits = {}
        for shard, keys in keys_by_shard(out).items():
            for key in keys:
                self.assertRegex(key, r"_\d{4}$")
                splits.setdefault(key[:-5], set()).add(shard.split("-")[0])
        self.assertEqual(len(splits), 24)
        self.assertTrue(all(len(s) == 1 for s in splits.values()), "segments of a video in two splits")
        for name, (_, value) in members(out).items():
            if name.endswith(".json"):
                facts = json.loads(value)
                self.assertTrue(name.startswith(facts["source_key"] + "_"))
                self.assertGreater(facts["source_end_seconds"], facts["source_start_seconds"])
        with open(os.path.join(out, "dataset.json"), encoding="utf-8") as file:
            segmented = json.load(file)
        whole = pack(CLIPS, "--dry-run")
        self.assertEqual(segmented["frames"], sum(s["frames"] for s in whole["shards"]))

    def test_transcoding(self):
        first = None
        for jobs in ("1", "3"):
            out = fresh("transcoded")
            report = pack(CLIPS, "--out", out, "--transcode", "codec=h264,short_side=64,gop=12,preset=ultrafast",
                          "--shard-samples", "7", "--jobs", jobs)
            first = first or content(out)
            self.assertEqual(content(out), first)
        self.assertEqual(report["transcode"]["videos"], 24)
        self.assertGreater(report["transcode"]["fewer_decoded_frames"], 0)
        with open(os.path.join(out, "dataset.json"), encoding="utf-8") as file:
            manifest = json.load(file)
        self.assertEqual(manifest["codecs"], {"h264": 24})
        self.assertIn("short_side=64", manifest["options"]["transcode"])
        self.assertTrue(all(n.endswith((".mp4", ".json", ".cls")) for n in members(out)))
        self.assertEqual(run(CLIPS, "--out", out, "--transcode", "codec=vhs").returncode, 2)


class SplitTest(unittest.TestCase):
    def test_no_group_is_in_two_splits_and_none_moves(self):
        few, all_out = fresh("few"), fresh("all")
        for group in ("key", "folder"):
            pack(os.path.join(CLIPS, "train"), "--out", few, "--split", "train=0.6,val=0.4", "--group-by", group,
                 "--overwrite", "--check", "none")
            pack(CLIPS, "--out", all_out, "--train-fraction", "0.6", "--group-by", group, "--overwrite", "--check", "none")
            place, folders = {}, {}
            for shard, keys in keys_by_shard(all_out).items():
                for key in keys:
                    split = shard.split("-")[0]
                    self.assertEqual(place.setdefault(key, split), split)
                    folders.setdefault(os.path.dirname(key), set()).add(split)
            self.assertEqual(len(place), 24)
            if group == "folder":
                self.assertTrue(all(len(s) == 1 for s in folders.values()), folders)
        # Inputs that are added move nothing (keys without their folder, as the smaller run has them).
        inputs = os.path.join(WORK, "inputs")
        shutil.rmtree(inputs, ignore_errors=True)
        shutil.copytree(os.path.join(CLIPS, "train"), inputs)
        before = {}
        pack(inputs, "--out", few, "--split", "train=0.6,val=0.4", "--overwrite", "--check", "none")
        for shard, keys in keys_by_shard(few).items():
            before.update({key: shard.split("-")[0] for key in keys})
        for name in os.listdir(os.path.join(CLIPS, "heldout")):
            shutil.copy(os.path.join(CLIPS, "heldout", name), os.path.join(inputs, "new-" + name))
        pack(inputs, "--out", few, "--split", "train=0.6,val=0.4", "--overwrite", "--check", "none")
        after = {}
        for shard, keys in keys_by_shard(few).items():
            after.update({key: shard.split("-")[0] for key in keys})
        self.assertGreater(len(after), len(before))
        self.assertEqual({key: after[key] for key in before}, before)


class RefusalTest(unittest.TestCase):
    def test_names_do_nothing_to_terminals(self):
        folder = os.path.join(WORK, "terminal")
        os.makedirs(folder, exist_ok=True)
        for name in ("a\x1b[31m\nb.mp4", "c1\u009b31m.mp4", "bidi\u202e.mp4"):
            with open(os.path.join(folder, name), "wb"):
                pass
        done = run(folder, "--out", fresh("terminal"))
        self.assertEqual(done.returncode, 1)
        for shown in ("a\\x1b[31m\\x0ab.mp4", "c1\\xc2\\x9b31m.mp4", "bidi\\xe2\\x80\\xae.mp4"):
            self.assertIn(shown, done.err)
        self.assertFalse({"\x1b", "\u009b", "\u202e"} & set(done.err))

    def test_options_that_mean_nothing(self):
        for seconds in ("nan", "inf", "0"):
            self.assertEqual(run(CLIPS, "--dry-run", "--segment-seconds", seconds).returncode, 2, seconds)

    def test_reasons(self):
        folder = os.path.join(WORK, "refused")
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        video = sorted(os.path.join(CLIPS, "train", n) for n in os.listdir(os.path.join(CLIPS, "train")) if n.endswith(".mp4"))[0]
        with open(video, "rb") as file:
            data = file.read()
        files = {"good.mp4": data, "cut.mp4": data[:-100], "empty.mp4": b"", "text.mp4": b"version https://git-lfs\n" * 3,
                 "twice.mp4": data, "twice.mov": data, "a.b.mp4": data, "a_b.mp4": data}
        for name, value in files.items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(value)
        subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", "sine=d=1", os.path.join(folder, "sound.mp4")], check=True)
        os.symlink("nowhere", os.path.join(folder, "dangling.mp4"))
        out = fresh("refusing")
        report = pack(folder, "--out", out)
        codes = {os.path.basename(r["path"]): r["code"] for r in report["refused"]}
        self.assertEqual(codes, {"cut.mp4": "truncated", "empty.mp4": "not_media", "text.mp4": "not_media",
                                 "twice.mp4": "duplicate_key", "a_b.mp4": "duplicate_key",
                                 "sound.mp4": "no_video_stream", "dangling.mp4": "not_found"})
        with open(os.path.join(out, "refused.jsonl"), encoding="utf-8") as file:
            self.assertEqual([json.loads(line) for line in file], report["refused"])
        failing = fresh("failing")
        done = pack(folder, "--out", failing, "--on-error", "fail", status=1)
        self.assertIn("sound.mp4", done.err)
        self.assertEqual(os.listdir(failing), [])

    def test_shared_media(self):
        if not os.path.isdir(MEDIA):
            self.skipTest("the shared media are not here ($SHARDREEL_MEDIA_DIR)")
        with open(os.path.join(MEDIA, "manifest.csv"), encoding="utf-8", newline="") as file:
            rows = {row["path"]: row for row in csv.DictReader(file)}
        expected = {"audio_only": {"no_video_stream"}, "encrypted_unsupported": {"encrypted"}, "not_media": {"not_media"},
                    "truncated_corrupt": {"truncated", "not_media", "decode_error"}}
        for check in ("open", "decode"):
            out = fresh("shared")
            inputs = [os.path.join(MEDIA, "real"), os.path.join(MEDIA, "derived")]
            if check == "decode" and not FULL:  # minutes for all
                rows = {path: row for path, row in rows.items() if row["category"] in {*expected, "h264_open_gop", "vp9"}}
                inputs = [os.path.join(top, name) for top in inputs for name in sorted({r["category"] for r in rows.values()})
                          if os.path.isdir(os.path.join(top, name))]
            report = pack(*inputs, "--out", out, "--check", check)
            codes = {os.path.relpath(r["path"], MEDIA): r["code"] for r in report["refused"]}
            for path, row in rows.items():
                if row["category"] not in expected:
                    self.assertNotIn(path, codes)
                elif check == "decode" or row["category"] != "truncated_corrupt" or "unopenable" in row["notes"] + row["tags"]:
                    self.assertIn(codes.get(path), expected[row["category"]], path)
            self.assertEqual(codes["derived/truncated_corrupt/d_trunc_moov_at_end_60pct.mp4"], "truncated")
            self.assertEqual(report["samples"] + len(codes), len(rows))
            packed = {hashlib.sha256(value).hexdigest() for _, value in members(out).values()}
            self.assertEqual(packed, {row["sha256"] for path, row in rows.items() if path not in codes})


def setUpModule():
    make_clips()


def tearDownModule():
    shutil.rmtree(os.path.join(WORK, "out"))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
