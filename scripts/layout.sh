#!/bin/sh
# Finds out which functions a server runs when it starts and serves, and writes their names to crates/are/layout.txt: the
# linker puts them beside each other, so that a server has few pages of its program in memory.
# Use: scripts/layout.sh BIN_DIR   (the directory with `are` and `zero_delay_provider`, symbols included)
# Needed after a change of the compiler, of the profile, of the version, or of a dependency or its features: linker names hold
# a hash of these. Until then nothing is wrong, but memory is as it is without. Needs valgrind: `scripts/deps.sh layout`.
set -eu
bin=${1:?the directory with the built programs}
cd "$(dirname "$0")/.."
list=crates/are/layout.txt
work=$(mktemp -d)
server= provider=
finish() {
    for pid in $server $provider; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT INT TERM

mkdir "$work/files" "$work/disk"
echo "7" > "$work/files/notes.txt"
unset ARE_URL ARE_TOKEN ARE_MODEL ARE_LOCAL_LLM OPENAI_BASE_URL ANTHROPIC_API_KEY ANTHROPIC_AUTH_TOKEN
export ARE_POLICY=strict ARE_WORKSPACE="$work/files" OPENAI_API_KEY=key-of-no-worth
field() {
    sed 's/.*"'"$1"'":"\([^"]*\)".*/\1/' "$2"
}
# The functions of a profile, as the linker knows them. `'2` is a second round of a recursion.
names() {
    sed -n "s/^c\{0,1\}fn=([0-9]*) //p" "$@" | sed "s/'[0-9]*\$//" | LC_ALL=C sort -u | LC_ALL=C comm -12 - "$work/symbols"
}
# One server, from its start to its end: what it ran until it was ready, and what it ran afterwards.
trace() {
    name=$1; shift
    "$bin/zero_delay_provider" "$@" > "$work/provider" & provider=$!
    until [ -s "$work/provider" ]; do sleep 0.05; done
    OPENAI_BASE_URL=$(field base_url "$work/provider")
    export OPENAI_BASE_URL ARE_MODEL=openai:bench
    valgrind --tool=callgrind --demangle=no --callgrind-out-file="$work/$name.out" \
        "$bin/are" --json start --port 0 --data-dir "$work/data-$name" > "$work/ready" 2> "$work/log" & server=$!
    until [ -s "$work/ready" ]; do
        kill -0 "$server" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
        sleep 0.2
    done
    callgrind_control -d ready "$server" > /dev/null
    ARE_URL=$(field address "$work/ready") ARE_TOKEN=$(cat "$work/data-$name/admin.token")
    export ARE_URL ARE_TOKEN
    "$bin/are" run "hello" > /dev/null
    "$bin/are" run "hello again" > /dev/null
    "$bin/are" --json bench --case "$name" --dir "$work/disk" > /dev/null
    "$bin/are" session list > /dev/null
    unset ARE_URL ARE_TOKEN
    kill "$server"; wait "$server" || true
    server=
    kill "$provider"; wait "$provider" 2>/dev/null || true
    provider=
    : > "$work/ready"
    : > "$work/provider"
}

nm --defined-only "$bin/are" | sed 's/^[0-9a-f]* [a-zA-Z] //' | LC_ALL=C sort -u > "$work/symbols"
trace tokens --tokens 2000
trace tool --tokens 1 --tool fs_read --arguments '{"path":"notes.txt"}'
names "$work"/*.out.1 > "$work/start"
names "$work"/*.out | LC_ALL=C comm -23 - "$work/start" > "$work/served"
[ -s "$work/start" ] && [ -s "$work/served" ]
cat "$work/start" "$work/served" > "$list"
echo "$list: $(wc -l < "$work/start") functions of a start, $(wc -l < "$work/served") more of serving"
