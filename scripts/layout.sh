#!/bin/sh
# Finds out which functions a server runs when it starts and serves, and writes their names to crates/are/layout.txt: the
# linker puts them beside each other, so that a server has few pages of its program in memory.
# Use: scripts/layout.sh BIN_DIR   (the directory with `are` and `zero_delay_provider`, symbols included)
# Needed after a change of the compiler, of the profile, of the version, or of a dependency or its features: linker names hold
# a hash of these. Until then nothing is wrong, but memory is as it is without. Changes of the code cost some names, too:
# where 3 % of them no longer matched, a server had 2 MiB more after 400 turns (`are bench --case turns`), so before a release
# it is worth the three minutes. Needs valgrind: `scripts/deps.sh layout`.
set -eu
bin=${1:?the directory with the built programs}
. "$(dirname "$0")/loopback.sh"
list=$(dirname "$0")/../crates/are/layout.txt

# The functions of a profile, as the linker knows them. `'2` is a second round of a recursion.
names() {
    sed -n "s/^c\{0,1\}fn=([0-9]*) //p" "$@" | sed "s/'[0-9]*\$//" | LC_ALL=C sort -u | LC_ALL=C comm -12 - "$work/symbols"
}
# One server, from its start to its end: what it ran until it was ready, and what it ran afterwards.
trace() {
    name=$1; shift
    start_provider "$@"
    start_server "$name" valgrind --tool=callgrind --demangle=no --callgrind-out-file="$work/$name.out"
    callgrind_control -d ready "$server" > /dev/null 2>&1
    "$bin/are" run "hello" > /dev/null
    "$bin/are" run "hello again" > /dev/null
    "$bin/are" --json bench --case "$name" --dir "$work/disk" > /dev/null
    "$bin/are" session list > /dev/null
    end_server
    end_provider
}

nm --defined-only "$bin/are" | sed 's/^[0-9a-f]* [a-zA-Z] //' | LC_ALL=C sort -u > "$work/symbols"
trace tokens --tokens 2000
trace tool --tokens 1 --tool fs_read --arguments '{"path":"notes.txt"}'
names "$work"/*.out.1 > "$work/start"
names "$work"/*.out | LC_ALL=C comm -23 - "$work/start" > "$work/served"
[ -s "$work/start" ] && [ -s "$work/served" ]
cat "$work/start" "$work/served" > "$list"
echo "$list: $(wc -l < "$work/start") functions of a start, $(wc -l < "$work/served") more of serving"
