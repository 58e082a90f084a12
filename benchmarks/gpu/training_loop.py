#!/usr/bin/env python3
"""A training loop with a real torch model that reads through DLPack: how long it takes with each decoder,
and how much of that time the GPU works.

    benchmarks/gpu/training_loop.py SHARDS [--rounds 5] [--device cuda:0] [--decode cpu cuda]

For each shard and decoder: seconds from opening the loader to the last step, in turns; the busy fraction by
CUDA events (of the loop's time, what lies between the begin and the end of its steps on the GPU) and by NVML
(mean of what the driver says); and the loop's speed over that of the same steps on one batch that is kept, which
is what a loader that costs nothing would give. Prints one JSON object.
"""
import argparse
import ctypes
import json
import os
import statistics
import sys
import threading
import time

try:
    import torch
    from torch import nn
except ImportError as missing:
    print(f"SKIPPED: {missing}")
    sys.exit(77)

import shardreel


class ClipNet(nn.Module):
    """Tubes of 2x16x16 pixels through a small transformer; clips [B, T, H, W, 3] as the loader gives them."""

    def __init__(self, width, depth):
        super().__init__()
        self.tubes = nn.Conv3d(3, width, (2, 16, 16), (2, 16, 16))
        layer = nn.TransformerEncoderLayer(width, max(1, width // 64), 4 * width, batch_first=True, dropout=0.0)
        self.encoder = nn.TransformerEncoder(layer, depth)
        self.head = nn.Linear(width, 400)

    def forward(self, clips):
        tokens = self.tubes(clips.permute(0, 4, 1, 2, 3).float() / 255).flatten(2).transpose(1, 2)
        return self.head(self.encoder(tokens).mean(1))


class Trainer:
    """Steps on batches, and the time they take on the device."""

    def __init__(self, options):
        self.device = torch.device(options.device)
        torch.manual_seed(0)
        self.network = ClipNet(options.width, options.depth).to(self.device)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=1e-3)
        self.spans = []

    def _mark(self):
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def step(self, clips):
        begin = self._mark()
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda"):
            scores = self.network(clips)
        loss = nn.functional.cross_entropy(scores.float(), torch.zeros(len(clips), dtype=torch.long, device=self.device))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.spans.append((begin, self._mark()))

    def synchronize(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def take_busy_seconds(self):
        spans, self.spans = self.spans, []
        if self.device.type != "cuda":
            return sum(end - begin for begin, end in spans)
        return sum(begin.elapsed_time(end) for begin, end in spans) / 1000


class Utilisation:
    """What NVML says of the machine's only GPU, every tenth of a second; nothing where it cannot."""

    class _Rates(ctypes.Structure):
        _fields_ = [("gpu", ctypes.c_uint), ("memory", ctypes.c_uint)]

    def __init__(self):
        self.samples, self._handle, self._over = [], None, threading.Event()
        count, handle = ctypes.c_uint(), ctypes.c_void_p()
        try:
            self._nvml = ctypes.CDLL("libnvidia-ml.so.1")
        except OSError:
            return
        if (self._nvml.nvmlInit_v2() == 0 and self._nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)) == 0
                and count.value == 1 and self._nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(handle)) == 0):
            self._handle = handle

    def __enter__(self):
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _watch(self):
        rates = self._Rates()
        while self._handle is not None and not self._over.wait(0.1):
            if self._nvml.nvmlDeviceGetUtilizationRates(self._handle, ctypes.byref(rates)) == 0:
                self.samples.append(rates.gpu / 100)

    def mean(self):
        return statistics.fmean(self.samples) if self.samples else None


def run(options, trainer, shard, decode):
    """One epoch of a shard; also keeps a batch for the loop without a loader."""
    kept, steps = None, 0
    begin = time.perf_counter()
    with shardreel.Loader(shard, tensors="torch", devices=[options.device], decode=decode, num_frames=16,
                          width=options.size, height=options.size, resize_mode="stretch", batch_size=8,
                          drop_last=True, memory_bytes=options.memory_bytes, min_fill=8, rank=0,
                          world_size=1) as loader, Utilisation() as used:
        for batch in loader:
            clips = batch["video"]
            if kept is None:
                kept = clips.clone()
            trainer.step(clips)
            steps += 1
            del batch, clips
        trainer.synchronize()
        seconds = time.perf_counter() - begin
        ways = loader.metrics()["clips_by_decoder"]
    busy = trainer.take_busy_seconds()
    if not steps:
        sys.exit(f"{shard}: no whole batch of 8 clips")
    begin = time.perf_counter()
    for _ in range(steps):
        trainer.step(kept)
    trainer.synchronize()
    alone = time.perf_counter() - begin
    trainer.take_busy_seconds()
    return {"seconds": seconds, "steps": steps, "busy": busy / seconds, "nvml": used.mean(),
            "over_no_loader": alone / seconds, "ways": ways}


def spread(values):
    return {"median": statistics.median(values), "all": values}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shards", nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda:0", help="of the batches and the model; cpu:0 to try it out")
    parser.add_argument("--decode", nargs="+", default=["cpu", "cuda"], choices=["cpu", "cuda"])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--width", type=int, default=384, help="of the model")
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--memory-bytes", default="4GiB")
    options = parser.parse_args()
    trainer = Trainer(options)
    run(options, trainer, options.shards[0], options.decode[0])  # libraries and kernels are loaded by then
    result = {"torch": torch.__version__, "parameters": sum(p.numel() for p in trainer.network.parameters()),
              "rounds": options.rounds, "videos": []}
    for shard in options.shards:
        runs = {decode: [] for decode in options.decode}
        for turn in range(options.rounds):
            for decode in options.decode if turn % 2 == 0 else reversed(options.decode):
                runs[decode].append(run(options, trainer, shard, decode))
        row = {"shard": os.path.basename(shard)}
        for decode, of_one in runs.items():
            nvml = [one["nvml"] for one in of_one if one["nvml"] is not None]
            row[decode] = {"seconds": spread([one["seconds"] for one in of_one]), "steps": of_one[0]["steps"],
                           "busy_by_events": spread([one["busy"] for one in of_one]),
                           "busy_by_nvml": spread(nvml) if nvml else None,
                           "speed_over_no_loader": spread([one["over_no_loader"] for one in of_one]),
                           "clips_by_decoder": of_one[0]["ways"]}
        if len(runs) == 2:
            row["cpu_over_cuda"] = spread([cpu["seconds"] / gpu["seconds"]
                                           for cpu, gpu in zip(runs["cpu"], runs["cuda"])])
        result["videos"].append(row)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
