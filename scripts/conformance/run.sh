#!/bin/sh
# Runs the official conformance suite of MCP that `make deps` installed; the arguments are the suite's own, such as
# `server --url http://localhost:8888/mcp`. Exits 3 where it is not installed.
set -eu
home=$HOME/.cache/are/conformance
suite=$home/node_modules/@modelcontextprotocol/conformance/dist/index.js
for node in "$home"/node_modules/node-linux-*/bin/node; do
    # What the suite starts needs one too.
    [ -x "$node" ] && [ -s "$suite" ] && export NODE="$node" && exec "$node" "$suite" "$@"
done
echo 'the conformance suite is not installed: run `make deps`' >&2
exit 3
