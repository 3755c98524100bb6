#!/bin/sh
# Runs a script with the OpenAI SDK for JavaScript that `make deps` installed: run.sh FILE ARGUMENT… Exits 3 where it is
# not installed.
set -eu
home=$HOME/.cache/are/openai
sdk=$home/node_modules/openai/index.mjs
for node in "$home"/node_modules/node-linux-*/bin/node; do
    [ -x "$node" ] && [ -s "$sdk" ] && exec env OPENAI_SDK="$sdk" "$node" "$@"
done
echo 'the OpenAI SDK for JavaScript is not installed: run `make deps`' >&2
exit 3
