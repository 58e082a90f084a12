"""Run a program and measure what it took: CPU seconds by the kernel's account, and the memory of its
whole process tree, sampled."""
import json
import mmap
import os
import subprocess
import time

MADV_POPULATE_WRITE = 23  # Linux 5.14


def process_tree(root):
    found, open_ = [], [root]
    while open_:
        process = open_.pop()
        found.append(process)
        try:
            for thread in os.listdir(f"/proc/{process}/task"):
                with open(f"/proc/{process}/task/{thread}/children") as file:
                    open_ += [int(child) for child in file.read().split()]
        except OSError:
            pass  # it ended meanwhile
    return found


def pss_bytes(root, kind="Pss:"):
    """The memory of a process tree; "Pss_Anon:" without the pages of files."""
    total = 0
    for process in process_tree(root):
        try:
            with open(f"/proc/{process}/smaps_rollup") as file:
                for line in file:
                    if line.startswith(kind):
                        total += int(line.split()[1]) * 1024
                        break
        except OSError:
            pass
    return total


def back_free_memory(size=2 << 30):
    """Let nobody pay for pages that a virtual machine gave back to its host: touched again, they cost
    eight times what clearing them does, in the account of whoever comes first."""
    try:
        with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
            memory.madvise(mmap.MADV_HUGEPAGE)
            memory.madvise(MADV_POPULATE_WRITE)
    except OSError:
        pass  # no room for it, or an older kernel: then somebody pays


def run(command, environment=None):
    """The JSON object on the last line of what `command` prints, with `began_at` (as time.time() tells
    it), `cpu_seconds`, `wall_seconds` and `tree_pss_bytes`, the peak of its process tree. A status other
    than 0 raises RuntimeError."""
    back_free_memory()
    before, began, began_at = os.times(), time.monotonic(), time.time()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env=dict(os.environ, **(environment or {})))
    os.set_blocking(process.stdout.fileno(), False)
    os.set_blocking(process.stderr.fileno(), False)
    output, errors, peak = b"", b"", 0
    while process.poll() is None:
        output += process.stdout.read() or b""
        errors += process.stderr.read() or b""
        sampled = time.monotonic()
        peak = max(peak, pss_bytes(process.pid))
        # Sampling walks page tables; it must not take more than a fiftieth of a core.
        time.sleep(max(0.05, 50 * (time.monotonic() - sampled)))
    wall, after = time.monotonic() - began, os.times()
    output += process.stdout.read() or b""
    errors += process.stderr.read() or b""
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command[:3]))} … ended with {process.returncode}: "
                           f"{errors.decode(errors='replace')[-800:]}")
    lines = [line for line in output.decode(errors="replace").splitlines() if line.startswith("{")]
    result = json.loads(lines[-1]) if lines else {}
    result.update(began_at=began_at, wall_seconds=wall, tree_pss_bytes=peak,
                  cpu_seconds=after.children_user + after.children_system
                  - before.children_user - before.children_system)
    return result


def tell(report, path=None):
    """Print a report as one JSON object; write it to `path`, too, where one is given."""
    text = json.dumps(report)
    print(text)
    if path:
        with open(path, "w") as file:
            file.write(text + "\n")
