#!/bin/sh
# Drives the client half against one scenario of the conformance suite, through
# the verbs that people use. The suite starts `client.sh URL` with the name of
# the scenario in MCP_CONFORMANCE_SCENARIO; PROGRAM is the program.
set -eu
url=$1
place=${url#*://}
place=${place%%/*}
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
# A runtime of its own that may reach the suite's server, which listens on this machine.
export HOME="$home" ARE_DATA_DIR="$home/data" ARE_WORKSPACE="$home/work" ARE_EGRESS_PRIVATE="$place"
mkdir "$home/work"

case $MCP_CONFORMANCE_SCENARIO in
initialize) "$PROGRAM" mcp add it "$url" --dry-run ;;
tools_call)
    "$PROGRAM" mcp add it "$url" --yes
    "$PROGRAM" tool call it_add_numbers '{"a": 2, "b": 3}'
    ;;
sse-retry)
    "$PROGRAM" mcp add it "$url" --yes
    "$PROGRAM" tool call it_test_reconnection
    ;;
*)
    echo "client.sh: the scenario $MCP_CONFORMANCE_SCENARIO is left out" >&2
    exit 2
    ;;
esac
