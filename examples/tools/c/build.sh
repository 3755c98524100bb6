#!/bin/sh
# Makes words.wasm of words.c: clang and lld for the core module, `wasm-tools` for the component around it.
set -eu
cd "$(dirname "$0")"
out=${1:-words.wasm}
core=$(mktemp)
trap 'rm -f "$core"' EXIT
clang --target=wasm32-unknown-unknown -O2 -Wall -Wextra -Werror -nostdlib -Wl,--no-entry -Wl,--strip-all -o "$core" words.c
wasm-tools component embed words.wit "$core" -o "$core"
wasm-tools component new "$core" -o "$out"
