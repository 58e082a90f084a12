#!/usr/bin/python3
"""The same shuffle with Python webdataset and PyAV, for benchmarks/shuffle_memory.py.

    wds_pyav.py --slice view|copy --buffer-clips N --windows-per-video N SHARDS...

Windows of 16 frames of 224x224 RGB, views of the decoded video or copies of it, through webdataset's
shuffle(N), which counts items; batches of 8. Prints one JSON object as shuffle_memory does; in its
`order` stand key and number of entry.
"""
import argparse
import io
import json
import os
import random
import resource
import threading
import time


def memory():
    found = {}
    with open("/proc/self/smaps_rollup") as file:
        for line in file:
            name, *rest = line.split()
            if name in ("Pss:", "Anonymous:"):
                found[name] = int(rest[0]) * 1024
    return found["Pss:"], found["Anonymous:"]


def decode(data):
    """[frames, 224, 224, 3]: the middle of the picture, as `short_side` and a centre crop give."""
    import av
    import numpy as np
    frames = []
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        for frame in container.decode(stream):
            width = max(224, round(frame.width * 224 / min(frame.width, frame.height)))
            height = max(224, round(frame.height * 224 / min(frame.width, frame.height)))
            scaled = frame.to_ndarray(format="rgb24", width=width, height=height)
            left, top = (width - 224) // 2, (height - 224) // 2
            frames.append(scaled[top:top + 224, left:left + 224])
    return np.stack(frames)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("shards", nargs="+")
    parser.add_argument("--slice", choices=["view", "copy"], required=True)
    parser.add_argument("--buffer-clips", type=int, default=256)
    parser.add_argument("--windows-per-video", type=int, default=0)
    options = parser.parse_args()
    import numpy as np
    import webdataset as wds

    clip_bytes = 16 * 224 * 224 * 3
    entered = left = 0

    def windows(samples):
        nonlocal entered
        choice = random.Random(0)
        for sample in samples:
            video = decode(sample["mp4"])
            starts = list(range(0, len(video) - 15, 16))
            if options.windows_per_video:
                starts = sorted(choice.sample(starts, min(len(starts), options.windows_per_video)))
            for start in starts:
                window = video[start:start + 16]
                entered += 1
                yield sample["__key__"], entered, window if options.slice == "view" else window.copy()

    dataset = wds.WebDataset(options.shards, shardshuffle=len(options.shards), empty_check=False)
    dataset = dataset.compose(windows).shuffle(options.buffer_clips,
                                               initial=min(100, options.buffer_clips))
    series, over, begin = [], threading.Event(), time.monotonic()

    def sample_memory():
        while not over.wait(0.1):
            pss, anonymous = memory()
            held = entered - left
            series.append([time.monotonic() - begin, pss, anonymous, 0, held * clip_bytes, held])

    sampler = threading.Thread(target=sample_memory)
    sampler.start()
    order, batch, first = [], [], 0
    for key, number, window in dataset:
        left += 1
        batch.append((key, number, window))
        if len(batch) == 8:
            np.stack([clip for _, _, clip in batch])
            first = first or time.monotonic() - begin
            order.append([[key, number, 0] for key, number, _ in batch])
            batch = []
    over.set()
    sampler.join()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"mode": f"webdataset-{options.slice}", "clips": left, "clip_bytes": clip_bytes,
                      "windows_per_video": options.windows_per_video,
                      "buffer_bytes": options.buffer_clips * clip_bytes,
                      "seconds": time.monotonic() - begin,
                      "cpu_seconds": usage.ru_utime + usage.ru_stime,
                      "first_batch_seconds": first, "series": series, "order": order}))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
