#!/bin/sh
# Runs every case of `are bench` against a fresh server and a provider without
# delay, both on loopback and both started and ended here. JSON lines on stdout.
# Use: scripts/bench.sh BIN_DIR   (the directory with `are` and `zero_delay_provider`)
set -eu
bin=${1:?the directory with the built programs}
work=$(mktemp -d)
server= provider=
finish() {
    for pid in $server $provider; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT INT TERM

mkdir "$work/disk" "$work/files"
echo "7" > "$work/files/notes.txt"
unset ARE_URL ARE_TOKEN ARE_MODEL ARE_LOCAL_LLM OPENAI_BASE_URL ANTHROPIC_API_KEY
export ARE_POLICY=strict ARE_WORKSPACE="$work/files" OPENAI_API_KEY=bench-key-of-no-worth
"$bin/are" --json bench --data-dir "$work/none" --dir "$work/disk"

run_case() {
    name=$1; shift
    "$bin/zero_delay_provider" "$@" > "$work/provider-$name" & provider=$!
    until [ -s "$work/provider-$name" ]; do sleep 0.05; done
    OPENAI_BASE_URL=$(sed 's/.*"base_url":"\([^"]*\)".*/\1/' "$work/provider-$name")
    export OPENAI_BASE_URL ARE_MODEL=openai:bench
    "$bin/are" --json start --port 0 --data-dir "$work/data-$name" > "$work/ready-$name" 2> "$work/log-$name" & server=$!
    until [ -s "$work/ready-$name" ]; do sleep 0.05; done
    "$bin/are" --json bench --case "$name" --pid "$server" --data-dir "$work/data-$name"
    kill "$server"; wait "$server" || true
    kill "$provider"; wait "$provider" 2>/dev/null || true
    server= provider=
}
run_case turns --tokens 1
run_case tokens --tokens 2000
run_case tool --tokens 1 --tool fs_read --arguments '{"path":"notes.txt"}'
