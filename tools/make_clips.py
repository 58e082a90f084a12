#!/usr/bin/env python3
"""Make labelled video clips with the ffmpeg program.

    tools/make_clips.py OUT [--count 64] [--seed 0] [--jobs N]

Each clip shows a random texture in one of eight motions (the class, in .cls): 0 left, 1 right, 2 up,
3 down, 4 clockwise, 5 anticlockwise, 6 grow, 7 shrink. Facts lie beside it in .json. Clips have sound,
several codecs, containers and sizes. Four fifths go to OUT/train, one fifth to OUT/heldout.

The frame number can be read from the pixels: twelve squares of 8x8 pixels in a row from the top left
corner, the first for bit 0 (the least); a white square is 1, a black one 0.

The same arguments give the same clips. A run that finds them all does nothing.
"""

import argparse
import concurrent.futures
import json
import os
import random
import subprocess
import sys

MOTIONS = ["left", "right", "up", "down", "clockwise", "anticlockwise", "grow", "shrink"]
SIZES = [(160, 120), (192, 144), (240, 180), (320, 240), (176, 208), (256, 144)]
BARCODE_BITS = 12
SQUARE = 8  # pixels; a multiple of what chroma subsampling and small transforms blur

# Container, video encoder, audio encoder. One thread each: the output must not depend on the machine.
X265 = "pools=none:frame-threads=1:log-level=error:keyint=24"
CODECS = [
    ("h264", "mp4", ["libx264", "-preset", "veryfast", "-g", "24", "-bf", "2"], "aac"),
    ("hevc", "mkv", ["libx265", "-preset", "ultrafast", "-x265-params", X265], "libopus"),
    ("vp9", "webm", ["libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "24", "-b:v", "400k"], "libopus"),
    ("mpeg4", "avi", ["mpeg4", "-q:v", "4", "-g", "12"], "mp2"),
    ("av1", "mp4", ["libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-g", "24", "-b:v", "400k"], "aac"),
]


def texture(chooser, width, height):
    """Return a PPM of coloured cells: random ones, with stripes or squares below."""
    palette = [[chooser.randrange(256) for _ in range(3)] for _ in range(chooser.randint(3, 6))]
    period_x, period_y = chooser.randint(2, 6), chooser.randint(2, 6)
    noise = chooser.uniform(0.15, 0.6)
    pixels = bytearray()
    for y in range(height):
        for x in range(width):
            cell = x // period_x + y // period_y
            if chooser.random() < noise:
                cell = chooser.randrange(len(palette))
            pixels += bytes(palette[cell % len(palette)])
    return b"P6 %d %d 255\n" % (width, height) + bytes(pixels)


def motion_filter(motion, width, height, frames, speed):
    """Return the filters that turn the still texture into `frames` moving pictures."""
    # The canvas covers the way of the longest slide and the corners of a rotation.
    side = 2 * max(width, height)
    canvas = f"scale={side}:{side}:flags=bicubic"
    middle_x, middle_y = (side - width) // 2, (side - height) // 2
    way = speed * frames / 2
    if motion in ("left", "right", "up", "down"):
        # What is shown moves against the window that slides over it.
        forward = f"+{speed}*n-{way}" if motion in ("left", "up") else f"-{speed}*n+{way}"
        x = f"{middle_x}{forward}" if motion in ("left", "right") else str(middle_x)
        y = f"{middle_y}{forward}" if motion in ("up", "down") else str(middle_y)
        return f"{canvas},crop={width}:{height}:x={x}:y={y}"
    if motion in ("clockwise", "anticlockwise"):
        sign = "" if motion == "clockwise" else "-"
        return f"{canvas},rotate=a={sign}{speed / 100}*n:bilinear=1,crop={width}:{height}"
    # A window that becomes smaller makes what is in it grow.
    step = speed / 100
    zoom = f"1.2+{step}*on" if motion == "grow" else f"{1.2 + step * frames}-{step}*on"
    return (
        f"{canvas},zoompan=z={zoom}:x=iw/2-iw/zoom/2:y=ih/2-ih/zoom/2:d=1:s={width}x{height}"
    )


def barcode_filter():
    """Return the filters that draw the number of the frame."""
    boxes = [f"drawbox=x=0:y=0:w={SQUARE * BARCODE_BITS}:h={SQUARE}:color=black:t=fill"]
    for bit in range(BARCODE_BITS):
        boxes.append(
            f"drawbox=x={bit * SQUARE}:y=0:w={SQUARE}:h={SQUARE}:color=white:t=fill"
            f":enable='mod(floor(n/{2**bit}),2)'"
        )
    return ",".join(boxes)


def run_ffmpeg(arguments, texture_bytes):
    finished = subprocess.run(
        ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-y", *arguments],
        input=texture_bytes, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False,
    )
    if finished.returncode != 0:
        raise RuntimeError(f"ffmpeg {' '.join(arguments)}:\n{finished.stderr.decode(errors='replace')}")


def write_whole(path, text):
    with open(path + ".part", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + ".part", path)


def make_clip(out, index, seed):
    """Make one clip with its label and facts; return whether there was anything to do."""
    chooser = random.Random(f"{seed}/{index}")
    label = index % len(MOTIONS)
    # Not in step with the motion (of 8) nor with the split (of 5).
    codec, container, video, audio = CODECS[(index + index // len(MOTIONS)) % len(CODECS)]
    width, height = chooser.choice(SIZES)
    frames, rate, speed = chooser.randint(48, 64), chooser.choice([24, 25, 30]), chooser.randint(2, 3)
    split = "heldout" if index % 5 == 4 else "train"
    base = os.path.join(out, split, f"clip-{index:04d}")
    facts = {
        "motion": MOTIONS[label], "class": label, "codec": codec, "width": width, "height": height,
        "frames": frames, "fps": rate, "speed": speed, "seed": seed, "split": split,
    }
    facts_text = json.dumps(facts) + "\n"
    # The facts are written last: where they are right, the clip is whole.
    if os.path.exists(f"{base}.json"):
        with open(f"{base}.json", encoding="utf-8") as file:
            if file.read() == facts_text:
                return False
    filters = (
        f"loop=loop=-1:size=1,setpts=N/{rate}/TB,"
        f"{motion_filter(MOTIONS[label], width, height, frames, speed)},"
        f"fps={rate},{barcode_filter()},format=yuv420p"
    )
    run_ffmpeg(
        ["-f", "ppm_pipe", "-framerate", str(rate), "-i", "-",
         "-f", "lavfi", "-i", f"sine=frequency={chooser.randint(200, 800)}:duration={frames / rate}:sample_rate=48000",
         "-filter_complex", f"[0:v]{filters}[v]", "-map", "[v]", "-map", "1:a",
         "-frames:v", str(frames), "-c:v", *video, "-c:a", audio, "-threads", "1",
         "-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact",
         "-f", {"mkv": "matroska"}.get(container, container), f"{base}.{container}.part"],
        texture(chooser, 40, 40),
    )
    os.replace(f"{base}.{container}.part", f"{base}.{container}")
    write_whole(f"{base}.cls", f"{label}\n")
    write_whole(f"{base}.json", facts_text)
    return True


def main():
    parser = argparse.ArgumentParser(description="Make labelled video clips with the ffmpeg program.")
    parser.add_argument("out")
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    for split in ("train", "heldout"):
        os.makedirs(os.path.join(arguments.out, split), exist_ok=True)
    try:
        with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
            made = sum(pool.map(lambda index: make_clip(arguments.out, index, arguments.seed),
                                range(arguments.count)))
    except (OSError, RuntimeError) as failure:
        print(f"make_clips.py: {failure}", file=sys.stderr)
        return 1
    if made:
        print(f"Made {made} clips in {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
