#!/bin/sh
# Runs `are bench` in this process and with every case, against fresh servers and a
# provider without delay, all on loopback and all started and ended here. JSON lines on stdout.
# Use: scripts/bench.sh BIN_DIR [MODEL]   (the directory with `are` and `zero_delay_provider`;
# a local model to measure too: `small`, `medium` or a GGUF file, already fetched)
# The working directory lies in TMPDIR, which must be on the disk to measure.
set -eu
bin=${1:?the directory with the built programs}
model=${2:-}
. "$(dirname "$0")/loopback.sh"
# Ten thousand sockets need as many files, in the server as in what measures it.
ulimit -n "$(ulimit -H -n)" 2>/dev/null || true
mkdir "$work/own"

# What came before is written out first, so that it does not count for what comes next.
bench() {
    sync
    "$bin/are" --json bench "$@"
}
# One case against a server of its own, through TCP as any client has it.
run_case() {
    name=$1; shift
    start_provider "$@"
    start_server "$name"
    bench --case "$name" --pid "$server" --dir "$work/disk"
    end_server
    end_provider
}

bench --data-dir "$work/none" --dir "$work/disk"
start_provider --tokens 1
bench --case start --data-dir "$work/none" --dir "$work/own" 2>> "$work/log-start"
bench --case recovery --data-dir "$work/none" --dir "$work/own" 2>> "$work/log-recovery"
bench --case audit-cost --data-dir "$work/none" --dir "$work/own" 2>> "$work/log-audit-cost"
bench --case fairness --data-dir "$work/none" --dir "$work/own" 2>> "$work/log-fairness"
bench --case scale --data-dir "$work/none" --dir "$work/own" 2>> "$work/log-scale"
end_provider
bench --case audit --data-dir "$work/none" --dir "$work/own" 2>> "$work/log-audit"
run_case turns --tokens 1
run_case tokens --tokens 2000
run_case tool --tokens 1 --tool fs_read --arguments '{"path":"notes.txt"}'
run_case idle --tokens 1
if [ -n "$model" ]; then bench --case local --data-dir "$work/none" --model "$model" 2>> "$work/log-local"; fi

strip -o "$work/stripped" "$bin/are"
bytes=$(wc -c < "$work/stripped")
printf '{"name":"stripped_binary","value":%s,"unit":"MB","samples":1}\n' "$(echo "$bytes" | awk '{ printf "%.1f", $1 / 1e6 }')"
