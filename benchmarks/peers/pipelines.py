#!/usr/bin/python3
"""One peer over tar shards, as its users build it; prints one JSON object at the end.

    pipelines.py PIPELINE-DECODER SHARDS... [--sampling dense|sparse|strided] [--workers N]
                 [--shuffle-clips N] [--clips N] [--dump FILE]

PIPELINE-DECODER is shardreel-python, or PIPELINE is webdataset (shuffle buffer of clips in each worker of a
torch DataLoader), mosaicml (StreamingDataset over the same bytes) or spdl (its own thread pool, with
webdataset's shuffle behind it). Clips of 16 frames, batches of 8.
`--shuffle-clips` is the total over all workers.
`--dump` writes the pixels of the first clip of each video: {key: [start, 16x224x224x3]} as .npz.
"""
import argparse
import json
import os
import random
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from decoders import DECODERS  # noqa: E402

FRAMES, BATCH = 16, 8


class Slicer:
    """Samples to clips; made once a process, because decoders do not travel between them."""

    def __init__(self, decoder, sampling):
        self.name, self.sampling, self.decoder = decoder, sampling, None

    def clips(self, key, data, frames=300):
        self.decoder = self.decoder or DECODERS[self.name]()
        if self.sampling == "sparse":
            start = random.Random(key).randint(0, frames - FRAMES)
            yield self.decoder.range(data, start, start + FRAMES), start, key
            return
        video = self.decoder.all(data)
        step = 4 if self.sampling == "strided" else 1
        for start in range(0, len(video) - (FRAMES - 1) * step, FRAMES * step):
            # A copy: a view would keep the whole video alive.
            yield video[start:start + FRAMES * step:step].copy(), start, key

    def __call__(self, samples):
        for sample in samples:
            yield from self.clips(sample["__key__"], sample["mp4"])


def webdataset_batches(shards, slicer, workers, shuffle_clips):
    import torch
    import webdataset
    torch.set_num_threads(1)
    each = max(1, shuffle_clips // max(1, workers))
    dataset = webdataset.WebDataset(shards, shardshuffle=len(shards), seed=0, empty_check=False)
    dataset = dataset.compose(slicer).shuffle(each, initial=min(8, each))
    return torch.utils.data.DataLoader(dataset, batch_size=BATCH, num_workers=workers)


def shuffled(clips, size):
    """webdataset's buffer, for those who bring none."""
    choice, held = random.Random(0), []
    for clip in clips:
        held.append(clip)
        if len(held) >= size:
            at = choice.randrange(len(held))
            held[at], held[-1] = held[-1], held[at]
            yield held.pop()
    choice.shuffle(held)
    yield from held


def batched(clips):
    import numpy
    batch = []
    for clip in clips:
        batch.append(clip)
        if len(batch) == BATCH:
            yield numpy.stack([c[0] for c in batch]), [c[1] for c in batch], [c[2] for c in batch]
            batch = []
    if batch:
        yield numpy.stack([c[0] for c in batch]), [c[1] for c in batch], [c[2] for c in batch]


def tar_samples(shards):
    import tarfile
    for shard in shards:
        with tarfile.open(shard, "r|") as archive:
            for member in archive:
                if member.name.endswith(".mp4"):
                    yield member.name[:-4], archive.extractfile(member).read()


def spdl_batches(shards, slicer, workers, shuffle_clips):
    from spdl.pipeline import PipelineBuilder
    threads = max(1, workers)
    pipeline = (PipelineBuilder().add_source(tar_samples(shards))
                .pipe(lambda sample: list(slicer.clips(*sample)), concurrency=threads,
                      output_order="completion")
                .add_sink(2).build(num_threads=threads))
    with pipeline.auto_stop():
        clips = (clip for video in pipeline.get_iterator(timeout=120) for clip in video)
        yield from batched(shuffled(clips, shuffle_clips))


def mosaicml_batches(shards, slicer, workers, shuffle_clips):
    """One item is one video, as MDS shards hold them; clips are shuffled behind the workers."""
    import tempfile
    import torch
    from streaming import MDSWriter, StreamingDataset
    folder = tempfile.mkdtemp(prefix="mds-")
    with MDSWriter(out=folder, columns={"key": "str", "mp4": "bytes"}) as writer:
        for key, data in tar_samples(shards):
            writer.write({"key": key, "mp4": data})

    class Videos(StreamingDataset):
        def __getitem__(self, at):
            item = super().__getitem__(at)
            return list(slicer.clips(item["key"], item["mp4"]))

    dataset = Videos(local=folder, shuffle=True, batch_size=1)
    loader = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=workers)
    yield from batched(shuffled((clip for video in loader for clip in video), shuffle_clips))


def shardreel_batches(shards, slicer, _workers, shuffle_clips):
    """The package, as benchmarks/run.py asks it of the program."""
    import shardreel
    windows = {"dense": {}, "sparse": {"windows_per_video": 1}, "strided": {"frame_step": 4}}
    with shardreel.Loader(shards, num_frames=FRAMES, width=224, height=224,
                          resize_mode="stretch", batch_size=BATCH, drop_last=False, decode_threads=2,
                          min_fill=8, memory_bytes="1GiB",
                          shuffle_bytes=shuffle_clips * FRAMES * 224 * 224 * 3,
                          tensors="torch", rank=0, world_size=1, **windows[slicer.sampling]) as loader:
        for batch in loader:
            yield batch["video"], batch["frame_index"][:, 0], batch["key"]


PIPELINES = {"shardreel": shardreel_batches, "webdataset": webdataset_batches, "spdl": spdl_batches,
             "mosaicml": mosaicml_batches}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("peer")
    parser.add_argument("shards", nargs="+")
    parser.add_argument("--sampling", choices=["dense", "sparse", "strided"], default="dense")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--shuffle-clips", type=int, default=256)
    parser.add_argument("--clips", type=int, default=0, help="end after so many; 0: all")
    parser.add_argument("--dump")
    options = parser.parse_args()
    if options.dump:
        import numpy
    pipeline, decoder = options.peer.split("-")
    began = time.monotonic()
    slicer = Slicer(decoder, options.sampling)
    clips, first, first_at, dump = 0, None, None, {}
    for pixels, starts, keys in PIPELINES[pipeline](options.shards, slicer, options.workers,
                                                    options.shuffle_clips):
        first = first or time.monotonic() - began
        first_at = first_at or time.time()
        clips += len(keys)
        if clips >= options.clips > 0:
            break
        if options.dump:
            for at, key in enumerate(keys):
                if key not in dump or int(starts[at]) < dump[key][0]:
                    dump[key] = (int(starts[at]), numpy.array(pixels[at]))
    if options.dump:
        numpy.savez(options.dump, **{f"{key}@{start}": pixels for key, (start, pixels) in dump.items()})
    print(json.dumps({"clips": clips, "seconds": time.monotonic() - began,
                      "first_batch_seconds": first, "first_batch_at": first_at}), flush=True)


if __name__ == "__main__":
    main()
