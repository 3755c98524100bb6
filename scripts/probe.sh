#!/bin/sh
# Looks for what has no command of its own. Succeeds when it is there.
case "$1" in
libclang)
    for dir in ${LIBCLANG_PATH:-} /usr/lib/llvm-*/lib /usr/lib/*-linux-gnu /usr/lib64 /usr/lib /usr/local/lib; do
        for file in "$dir"/libclang.so* "$dir"/libclang-*.so*; do
            [ -e "$file" ] && exit 0
        done
    done
    exit 1
    ;;
clang-headers)
    for file in /usr/lib/llvm-*/lib/clang/*/include/stddef.h /usr/lib/clang/*/include/stddef.h; do
        [ -e "$file" ] && exit 0
    done
    command -v clang >/dev/null 2>&1
    ;;
wasi-libc)
    for file in /usr/lib/wasm32-wasi/libc.a /usr/share/wasi-sysroot/lib/wasm32-wasi/libc.a; do
        [ -e "$file" ] && exit 0
    done
    exit 1
    ;;
wasm-builtins) # of the very compiler that is called
    file=$(clang --target=wasm32-wasi -print-libgcc-file-name 2>/dev/null) && [ -e "$file" ]
    ;;
npm) # what the lock file names, and all of it
    cmp -s "scripts/$2/package-lock.json" "$HOME/.cache/are/$2/installed.json"
    ;;
model) # where `are` keeps fetched models
    [ -s "${XDG_CACHE_HOME:-$HOME/.cache}/are/models/$2" ]
    ;;
*)
    echo "probe.sh: unknown thing: $1" >&2
    exit 2
    ;;
esac
