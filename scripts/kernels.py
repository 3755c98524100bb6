#!/usr/bin/env python3
"""Six kernels as WebAssembly in the lane of components against the same algorithm in Node.

Use: scripts/kernels.py BIN_DIR [--rounds N] [--hot N] [--node PATH] [--flags FLAGS] [--unchecked] [--json]
(BIN_DIR: the directory with `are`.) Needs node, and what `make deps` installs.

Whole process: `node NAME.js SIZE` against `are bench --case kernel --component NAME.wasm --size SIZE`, one after
the other in turn, wall time and peak memory of the process, the middle of N rounds. Compiled code lies in the cache
by then, as it does for any tool that was loaded once. Hot: the middle of as many runs in one process after as many to
warm up. Both must give the same answer. A ratio above one means that the component is faster, or smaller.

`--flags` are further ones for clang: `--flags="-mllvm -unroll-count=4 -mllvm -unroll-runtime-multi-exit"` puts four
turns of a loop into one, so that a component looks at its clock a quarter as often. `--unchecked` leaves these looks
out: what they cost, and what a process that is killed at the deadline could gain.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

KERNELS = {"sha256": 2048, "nbody": 200, "mandelbrot": 800, "json": 50, "logs": 200, "sort": 500}
# A component written otherwise for a kernel's script.
VARIANTS = {"mandelbrot_simd": "mandelbrot"}
FLAGS = ["-O3", "-msimd128", "-mbulk-memory", "-fno-builtin-memset"]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
COMPONENTIZE = CACHE / "are" / "tools" / "bin" / "componentize"
SOURCES = Path(__file__).resolve().parent.parent / "bench" / "kernels"


def whole(command, env):
    """Wall seconds, peak MiB and answer of one process."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=env)
    answer = process.stdout.read().decode().strip()
    _, status, usage = os.wait4(process.pid, 0)
    took = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"`{' '.join(map(str, command))}` ended with {process.returncode}")
    return took, usage.ru_maxrss / 1024, answer


def output(command, env):
    return subprocess.run(command, stdout=subprocess.PIPE, env=env, check=True).stdout.decode()


def measure(name, args, work, env):
    of = VARIANTS.get(name, name)
    size = KERNELS[of]
    component = work / f"{name}.wasm"
    subprocess.run(
        [COMPONENTIZE, SOURCES / f"{name}.c", SOURCES / "kernel.wit", component, *FLAGS, *args.flags.split()], check=True
    )
    script = [args.node, SOURCES / f"{of}.js", str(size)]
    bench = [args.bin / "are", "bench", "--case", "kernel", "--component", component, "--dir", work / "cache"]
    bench += ["--size", str(size), *(["--unchecked"] if args.unchecked else [])]
    ours, theirs = [], []
    whole(bench, env)  # Compiles, once.
    for _ in range(args.rounds):
        ours.append(whole(bench, env))
        theirs.append(whole(script, env))
    answers = {run[2] for run in ours + theirs}
    if len(answers) != 1:
        sys.exit(f"{name}: the answers differ: {sorted(answers)}")
    hot = []
    for _ in range(3):
        lines = output([*bench, "--json", "--runs", str(args.hot)], env).splitlines()
        figures = {figure["name"]: figure["value"] for figure in map(json.loads, lines)}
        hot.append((figures["kernel_hot_p50"], float(output([*script, str(args.hot)], env))))
    middle = statistics.median
    row = {
        "kernel": name,
        "whole_ms": middle(run[0] for run in ours) * 1e3,
        "node_whole_ms": middle(run[0] for run in theirs) * 1e3,
        "peak_mib": middle(run[1] for run in ours),
        "node_peak_mib": middle(run[1] for run in theirs),
        "hot_ms": middle(run[0] for run in hot),
        "node_hot_ms": middle(run[1] for run in hot),
    }
    for what in ("whole_ms", "peak_mib", "hot_ms"):
        row[f"{what.rsplit('_', 1)[0]}_ratio"] = row[f"node_{what}"] / row[what]
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bin", type=Path)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--hot", type=int, default=15)
    parser.add_argument("--node", default="node")
    parser.add_argument("--flags", default="")
    parser.add_argument("--unchecked", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        env = {"PATH": os.environ["PATH"], "HOME": str(work)}
        rows = [measure(name, args, work, env) for name in [*KERNELS, *VARIANTS]]
    if args.json:
        for row in rows:
            print(json.dumps(row))
        return
    print("| kernel | whole process, ms | Node | ratio | peak, MiB | Node | ratio | hot, ms | Node | ratio |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        cells = [row["kernel"]]
        for what in ("whole", "peak", "hot"):
            unit = "mib" if what == "peak" else "ms"
            cells += [f"{row[f'{what}_{unit}']:.1f}", f"{row[f'node_{what}_{unit}']:.1f}", f"{row[f'{what}_ratio']:.2f}"]
        print(f"| {' | '.join(cells)} |")


main()
