#!/usr/bin/python3
"""Train a small 3D network to tell motions apart, on batches from shardreel.

    tools/train_example.py TRAIN_SHARDS HELDOUT_SHARDS [--epochs 8] [--min-accuracy 0.9]

The shards are those of tools/quickstart.sh: random textures in one of eight motions, which is the class.
No single frame shows a motion, and no texture of the held-out shards is in the others. So the network
learns only from clips that are whole and in order, keep their labels, and come mixed.

With --checkpoint FILE it saves itself every few batches: network, optimizer, random numbers and where the
loader stands. Killed and started again with the same arguments, it goes on with the same losses.

It runs on a GPU where torch has one. Several processes are ranks of one job, e.g. by torchrun, or

    export WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=29500
    RANK=1 tools/train_example.py ... & RANK=0 tools/train_example.py ...
"""

import argparse
import os
import sys
import time

import torch
import torch.distributed
from torch import nn

import shardreel

# What both loaders deliver: gray clips of 16 frames, uint8 [B, 16, 48, 48, 1].
CLIPS = {"num_frames": 16, "width": 48, "height": 48, "color": "gray", "memory_bytes": "256MiB"}

LEFT, RIGHT, UP, DOWN, CLOCKWISE, ANTICLOCKWISE, GROW, SHRINK = range(8)
# What a class becomes in a mirror. The loader's own `flip` keeps the label, so here it would teach that
# left is right; the clips are mirrored below instead, together with their labels.
SIDES_SWAPPED = torch.tensor([RIGHT, LEFT, UP, DOWN, ANTICLOCKWISE, CLOCKWISE, GROW, SHRINK])
UPSIDE_DOWN = torch.tensor([LEFT, RIGHT, DOWN, UP, ANTICLOCKWISE, CLOCKWISE, GROW, SHRINK])


def mirror_some(clips, labels):
    """Mirror half of the clips, drawn at random, along each axis of the picture."""
    for axis, swapped in ((3, SIDES_SWAPPED), (2, UPSIDE_DOWN)):
        chosen = torch.rand(len(clips)) < 0.5
        clips = torch.where(chosen.view(-1, 1, 1, 1, 1), clips.flip(axis), clips)
        labels = torch.where(chosen, swapped[labels], labels)
    return clips, labels


class MotionNet(nn.Module):
    """Takes clips [B, T, H, W, 1] as they come from the loader; gives scores [B, 8]."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            *self.block(1, 16, kernel=(3, 5, 5), stride=(1, 2, 2)),
            *self.block(16, 32, kernel=(3, 3, 3), stride=(2, 2, 2)),
            *self.block(32, 64, kernel=(3, 3, 3), stride=(2, 2, 2)),
            # The mean over time, in 3x3 parts of the picture: it matters where something moves how. What
            # turns clockwise goes right at the top and left at the bottom.
            nn.AdaptiveAvgPool3d((1, 3, 3)), nn.Flatten(), nn.Linear(64 * 9, 8))

    @staticmethod
    def block(inputs, outputs, kernel, stride):
        padding = tuple(size // 2 for size in kernel)
        yield nn.Conv3d(inputs, outputs, kernel, stride, padding, bias=False)
        yield nn.GroupNorm(4, outputs)
        yield nn.ReLU()

    def forward(self, clips):
        frames = clips.permute(0, 4, 1, 2, 3).float() / 255  # Conv3d wants [B, C, T, H, W]
        changes = frames[:, :, 1:] - frames[:, :, :-1]  # what stands still says nothing
        contrast = changes.std(dim=(1, 2, 3, 4), keepdim=True) + 1e-3
        return self.layers(changes / contrast)


def make_loaders(options, ranks):
    """What to learn from, and what to test with; each gives an epoch whenever it is iterated."""
    # Eight windows of each video, others in each epoch. With batches_per_epoch all ranks take equally many
    # steps, whatever the shards hold. Rank and world size are found in the environment.
    training = shardreel.Loader(
        options.train, **CLIPS, epochs=options.epochs, seed=options.seed, windows_per_video=8,
        window_stride=2, batch_size=options.batch_size // ranks,
        batches_per_epoch=options.batches_per_epoch)
    # Every window once, in the given order: the ranks' counts add up to those of one process.
    heldout = shardreel.Loader(
        options.heldout, **CLIPS, epochs=options.epochs, shuffle="none", window_stride=8,
        batch_size=options.batch_size, ranks="exact")
    return training, heldout


def sum_over_ranks(numbers):
    if torch.distributed.is_initialized():
        torch.distributed.all_reduce(numbers)
    return numbers.tolist()


class Checkpoint:
    """Everything that decides how training goes on, in one file that is replaced as a whole."""

    def __init__(self, path, network, optimizer, loader):
        self.path, self.network, self.optimizer, self.loader = path, network, optimizer, loader
        self.batches = 0

    def save(self, epoch, sums):
        if self.path is None:
            return
        torch.save({"epoch": epoch, "sums": sums, "network": self.network.state_dict(),
                    "optimizer": self.optimizer.state_dict(), "random": torch.get_rng_state(),
                    "loader": self.loader.state_dict()}, self.path + ".part")
        os.replace(self.path + ".part", self.path)

    def after_batch(self, epoch, sums, every=5):
        self.batches += 1
        if self.batches % every == 0:
            self.save(epoch, sums)

    def load(self):
        """Return the epoch and its sums so far; the first epoch and none without a file."""
        if self.path is None or not os.path.exists(self.path):
            return 0, None
        saved = torch.load(self.path)
        self.network.load_state_dict(saved["network"])
        self.optimizer.load_state_dict(saved["optimizer"])
        torch.set_rng_state(saved["random"])
        self.loader.load_state_dict(saved["loader"])
        return saved["epoch"], saved["sums"]


def train_epoch(network, optimizer, batches, device, after_batch=None, sums=None):
    """One pass over `batches`, or the rest of it behind `sums`; return the mean loss, the accuracy and the
    number of clips."""
    if sums is None:
        sums = torch.zeros(3, dtype=torch.float64, device=device)
    for batch in batches:
        clips, labels = mirror_some(batch["video"], batch["cls"])
        clips, labels = clips.to(device), labels.to(device)
        scores = network(clips)
        loss = nn.functional.cross_entropy(scores, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        right = (scores.argmax(1) == labels).sum()
        sums += torch.stack([loss.detach() * len(labels), right, torch.full_like(right, len(labels))])
        if after_batch is not None:
            after_batch(sums)
    loss, right, clips = sum_over_ranks(sums)
    return loss / clips, right / clips, int(clips)


@torch.no_grad()
def evaluate(network, batches, device):
    """Return the accuracy and the number of clips."""
    sums = torch.zeros(2, dtype=torch.float64, device=device)
    for batch in batches:
        labels = batch["cls"].to(device)
        right = (network(batch["video"].to(device)).argmax(1) == labels).sum()
        sums += torch.stack([right, torch.full_like(right, len(labels))])
    right, clips = sum_over_ranks(sums)
    return right / clips, int(clips)


def train(options):
    """Train and evaluate in turn; return the last held-out accuracy."""
    rank, ranks = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    if ranks > 1:
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    torch.manual_seed(options.seed + rank)  # DistributedDataParallel starts all ranks from rank 0's weights
    network = MotionNet().to(device)
    trained = nn.parallel.DistributedDataParallel(network) if ranks > 1 else network
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)

    train_loader, heldout_loader = make_loaders(options, ranks)
    with train_loader, heldout_loader:
        checkpoint = Checkpoint(options.checkpoint, network, optimizer, train_loader)
        first, sums = checkpoint.load()
        heldout_loader.set_epoch(first)
        for epoch in range(first, options.epochs):
            loss, accuracy, clips = train_epoch(
                trained, optimizer, train_loader, device,
                lambda so_far, epoch=epoch: checkpoint.after_batch(epoch, so_far), sums)
            sums = None
            heldout, heldout_clips = evaluate(network, heldout_loader, device)
            if rank == 0:
                print(f"epoch {epoch}: loss {loss:.4f}, accuracy {accuracy:.1%} of {clips} clips; "
                      f"held out {heldout:.1%} of {heldout_clips}", flush=True)
        waited = train_loader.metrics()["verdict"]
    if rank == 0:
        print(f"The loader: {waited}")
    if ranks > 1:
        torch.distributed.destroy_process_group()
    return heldout


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", help="shards to learn from, e.g. 'train/shard-{000000..000003}.tar'")
    parser.add_argument("heldout", help="shards to test with")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batches-per-epoch", type=int, default=26)
    parser.add_argument("--batch-size", type=int, default=16, help="of all ranks together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", metavar="FILE",
                        help="save to it, and go on from it where it is there; for one process")
    parser.add_argument("--min-accuracy", type=float, default=0, help="exit with 1 below it, e.g. 0.9")
    options = parser.parse_args()
    if options.checkpoint and int(os.environ.get("WORLD_SIZE", 1)) > 1:
        parser.error("--checkpoint is for one process: ranks that are killed may stand at different batches")
    begin = time.monotonic()
    accuracy = train(options)
    if int(os.environ.get("RANK", 0)) == 0:
        print(f"Held-out accuracy {accuracy:.1%} after {time.monotonic() - begin:.0f} s "
              f"({time.process_time():.0f} CPU seconds)")
    return 0 if accuracy >= options.min_accuracy else 1


if __name__ == "__main__":
    sys.exit(main())
