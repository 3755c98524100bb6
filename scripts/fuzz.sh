#!/bin/sh
# Runs the fuzz targets one after the other: scripts/fuzz.sh [SECONDS_EACH] [TARGET…]
# Works with the pinned compiler: the code under test has no `unsafe`, so the address sanitizer, which needs a nightly
# one, would find nothing more. What is found is kept under the cache directory, as is the corpus.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-15}
[ $# -gt 0 ] && shift
cache="${XDG_CACHE_HOME:-$HOME/.cache}/are/fuzz"
[ $# -gt 0 ] || set -- $(sed -n 's/^name = "\([a-z_]*\)"$/\1/p' fuzz/Cargo.toml)
mkdir -p "$cache"
if ! cargo fuzz build --sanitizer none --target-dir "$cache/target" >"$cache/build.log" 2>&1; then
    tail -n 60 "$cache/build.log" >&2
    exit 1
fi
for target in "$@"; do
    mkdir -p "$cache/corpus/$target" "$cache/found/$target"
    seeds=fuzz/seeds/$target
    [ -d "$seeds" ] || seeds=
    if ! cargo fuzz run --sanitizer none --target-dir "$cache/target" "$target" "$cache/corpus/$target" $seeds -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 \
        -artifact_prefix="$cache/found/$target/" >"$cache/$target.log" 2>&1; then
        tail -n 40 "$cache/$target.log" >&2
        echo "$target: failed; what was found, if anything, is in $cache/found/$target" >&2
        exit 1
    fi
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$cache/$target.log")
    echo "$target: nothing found in $seconds s, ${runs:-no} inputs"
    [ "${runs:-0}" -gt 0 ]
done
