#!/usr/bin/env python3
"""Put what benchmarks/gpu/run.sh found into one JSON file and one table.

    benchmarks/gpu/report.py WORK [--label 2026-01-31] [--out FOLDER]

WORK holds an answer STEP.json of each step, or STEP.failed or STEP.skipped with one line that says why,
tests-PROGRAM.json (GoogleTest's report) and sanitizer.tsv (tool, program, result). Writes gpu-LABEL.json and
gpu-LABEL.md, and prints the table; the status is 1 where something failed. SHARDREEL_COMMIT is the commit of a tree
without history.
"""
import argparse
import glob
import json
import os
import platform
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
QUESTIONS = ["claim", "nvdec", "lane", "kernel", "hybrid", "pressure", "training"]
# Seconds for one 1080p video of so many frames, decoded on the CPU and on the GPU, as published elsewhere.
PUBLISHED = {960: (28.51, 24.2), 5520: (118.72, 100.23), 9300: (292.26, 240.85)}


def one_line(command):
    """The command's first line, or None where there is no such program."""
    try:
        lines = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True,
                               cwd=HERE).stdout.decode().splitlines()
    except (OSError, subprocess.CalledProcessError):
        return None
    return lines[0].strip() if lines else None


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def cpu_model():
    try:
        lines = read("/proc/cpuinfo").splitlines()
    except OSError:
        return None
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), None)


def stamp():
    # A copied tree may have no history.
    commit = os.environ.get("SHARDREEL_COMMIT") or one_line(["git", "describe", "--always", "--dirty"])
    return {"date": time.strftime("%Y-%m-%d"), "commit": commit,
            "driver": one_line(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]),
            "nvcc": (one_line(["bash", "-c", "nvcc --version | grep release"]) or "").split("release ")[-1] or None,
            "cpu": cpu_model(), "system": platform.platform()}


def read_tests(work):
    """By program: how many tests passed, failed and were skipped, and the reasons."""
    programs = {}
    for path in sorted(glob.glob(os.path.join(work, "tests-*.json"))):
        counts = {"passed": 0, "failed": [], "skipped": []}
        for suite in json.loads(read(path))["testsuites"]:
            for test in suite["testsuite"]:
                name = f"{suite['name']}.{test['name']}"
                if test.get("failures"):
                    counts["failed"].append(name)
                elif test.get("result") == "SKIPPED" or "skipped" in test:
                    counts["skipped"].append(name)
                else:
                    counts["passed"] += 1
        programs[os.path.basename(path)[len("tests-"):-len(".json")]] = counts
    # A program that crashed leaves a log and no report.
    for path in sorted(glob.glob(os.path.join(work, "tests-*.log"))):
        name = os.path.basename(path)[len("tests-"):-len(".log")]
        programs.setdefault(name, {"passed": 0, "failed": ["the program ended without a report"], "skipped": []})
    return programs


def read_sanitizer(work):
    path = os.path.join(work, "sanitizer.tsv")
    if not os.path.exists(path):
        return []
    return [dict(zip(("tool", "program", "result"), line.split("\t"))) for line in read(path).splitlines()]


def collect(work):
    report = stamp()
    for name in ["device"] + QUESTIONS:
        for ending in ("json", "failed", "skipped"):
            path = os.path.join(work, f"{name}.{ending}")
            if os.path.exists(path):
                report[name] = json.loads(read(path)) if ending == "json" else {ending: read(path).strip()}
    report["tests"] = read_tests(work)
    report["sanitizer"] = read_sanitizer(work)
    return report


# --- the table: a row is (question, case, figure, goal)

def number(spread, digits=2):
    return f"{spread['median']:.{digits}f}"


def decoders(counts):
    return ", ".join(f"{word} {count}" for word, count in counts.items() if count) or "none"


def claim_rows(answer):
    for row in answer["videos"]:
        published = PUBLISHED.get(row["frames"])
        beside = f"; published {published[0]}/{published[1]} s, {published[0] / published[1]:.2f}" if published else ""
        yield (f"{row['frames']} frames of 1080p, {answer['network']['flops_per_frame'] / 1e9:.1f} GFLOP a frame",
               f"CPU {number(row['cpu_seconds'])} s, GPU {number(row['gpu_seconds'])} s, "
               f"CPU over GPU {number(row['cpu_over_gpu'])}{beside}; {row['clips_from_device']} of {row['clips']} clips "
               "never left the GPU", "")


def nvdec_rows(answer):
    for row in answer["shards"]:
        best = [max(one[who]["median"] for one in row["sessions"])
                for who in ("bare_clips_per_second", "loader_clips_per_second")]
        yield (row["shard"], f"loader {best[1]:.0f}, bare {best[0]:.0f} clips/s: "
               f"{row['best_loader_over_best_bare']:.2f} ({decoders(row['clips_by_decoder'])}; "
               f"{row['gpu_sessions']['made']} sessions made)", "0.95")


def lane_rows(answer):
    for row in answer["sizes"]:
        yield (f"{row['bytes'] / 1e6:.1f} MB", f"lane {row['lane_bytes_per_second']['median'] / 1e9:.1f}, bare "
               f"{row['bare_bytes_per_second']['median'] / 1e9:.1f} GB/s: {number(row['lane_over_bare'])}", "0.95")
        if "overlap" in row:
            hidden = row["overlap"]["hidden_part_of_the_shorter"]
            yield (f"{row['bytes'] / 1e6:.1f} MB, GPU at work", f"hidden part of the shorter: {number(hidden)}", "")


def kernel_rows(answer):
    for row in answer["frames"]:
        yield (f"{row['from']} to {answer['to']}", f"{row['kernel_bytes_per_second']['median'] / 1e9:.0f} of "
               f"{row['copy_bytes_per_second']['median'] / 1e9:.0f} GB/s: {number(row['kernel_over_copy'])}", "")


def hybrid_rows(answer):
    yield (f"{answer['gpu_threads']} threads of the GPU, {answer['cpu_threads']} of the CPU",
           f"GPU {number(answer['gpu_clips_per_second'], 0)}, CPU {number(answer['cpu_clips_per_second'], 0)}, both "
           f"{number(answer['both_clips_per_second'], 0)} clips/s: both over the sum {number(answer['both_over_sum'])}",
           "")


def pressure_rows(answer):
    yield (f"{100 * answer['memory_in_use_at_worst']:.0f} % of the memory taken for a third of the run",
           "same clips and order" if answer["same_clips_and_order"] else "OTHER clips or order", "same")
    for when, counts in answer["clips_by_decoder"].items():
        yield (f"clips by decoder, {when.replace('_', ' ')}", decoders(counts), "")


def training_rows(answer):
    for row in answer["videos"]:
        for decode in ("cpu", "cuda"):
            if decode not in row:
                continue
            one = row[decode]
            nvml = number(one["busy_by_nvml"]) if one["busy_by_nvml"] else "unknown"
            yield (f"{row['shard']}, decode = {decode}", f"{number(one['seconds'])} s; GPU busy "
                   f"{number(one['busy_by_events'])} by events, {nvml} by NVML; "
                   f"{number(one['speed_over_no_loader'])} of the loop without a loader", "")


ROWS = {"claim": claim_rows, "nvdec": nvdec_rows, "lane": lane_rows, "kernel": kernel_rows, "hybrid": hybrid_rows,
        "pressure": pressure_rows, "training": training_rows}


def rows_of(report):
    for program, counts in report["tests"].items():
        yield ("tests", program, f"{counts['passed']} passed, {len(counts['failed'])} failed, "
               f"{len(counts['skipped'])} skipped", "none failed")
    for one in report["sanitizer"]:
        yield ("sanitizer", f"{one['tool']} {one['program']}", one["result"], "clean")
    for name in QUESTIONS:
        answer = report.get(name)
        if answer is None:
            yield (name, "", "not asked for", "")
        elif "failed" in answer or "skipped" in answer:
            [(word, why)] = answer.items()
            yield (name, "", f"{word.upper()}: {why}", "")
        else:
            for row in ROWS[name](answer):
                yield (name, *row)


def table(report):
    device = report.get("device", {})
    lines = [f"# GPU results, {report['date']}", "",
             f"{device.get('device', 'no device')}, driver {report['driver']} (CUDA {device.get('cuda_of_driver')}), "
             f"runtime {device.get('cuda_runtime')}, nvcc {report['nvcc']}, FFmpeg {device.get('ffmpeg')}, "
             f"{report['cpu']} ({device.get('cores')} cores), commit {report['commit']}. Medians; "
             "../../docs/gpu-results.md says what they mean.", "", "| | case | found | goal |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in rows_of(report)]
    return "\n".join(lines) + "\n"


def failed(report):
    return (any(counts["failed"] for counts in report["tests"].values())
            or any(one["result"].startswith("FAILED") for one in report["sanitizer"])
            or any("failed" in report.get(name, {}) for name in ["device"] + QUESTIONS))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work")
    parser.add_argument("--label", default=time.strftime("%Y-%m-%d"))
    parser.add_argument("--out", default=os.path.join(HERE, "..", "results"))
    options = parser.parse_args()
    report = collect(options.work)
    text = table(report)
    os.makedirs(options.out, exist_ok=True)
    for ending, content in (("json", json.dumps(report, indent=1) + "\n"), ("md", text)):
        with open(os.path.join(options.out, f"gpu-{options.label}.{ending}"), "w", encoding="utf-8") as file:
            file.write(content)
    print(text, end="")
    return 1 if failed(report) else 0


if __name__ == "__main__":
    sys.exit(main())
