#!/bin/sh
# Drives the client half against one scenario of the conformance suite, through
# the verbs that people use. The suite starts `client.sh URL` with the name of
# the scenario in MCP_CONFORMANCE_SCENARIO; PROGRAM is the program, NODE what
# stands for a person's browser.
set -eu
url=$1
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
# A runtime of its own that may reach the suite's servers: those that listen on every address of this machine. Some
# scenarios have two of them, and only one is told of.
places=
for port in $(awk '$4 == "0A" && $2 ~ /^0+:/ { sub(/^.*:/, "", $2); print $2 }' /proc/net/tcp /proc/net/tcp6 | sort -u); do
    places="$places localhost:$(printf '%d' "0x$port")"
done
ARE_EGRESS_PRIVATE=$(echo "$places" | tr -s ' ' ',')
export HOME="$home" ARE_DATA_DIR="$home/data" ARE_WORKSPACE="$home/work" ARE_EGRESS_PRIVATE
mkdir "$home/work"

add() {
    "$PROGRAM" mcp add it "$url" --yes
}

# Logs in as somebody does whose browser is elsewhere: the address that is told is opened, and where that sends the
# browser is pasted.
login() {
    mkfifo "$home/answer" "$home/told"
    "$PROGRAM" mcp login it "$url" --no-browser "$@" <"$home/answer" 2>"$home/told" &
    program=$!
    exec 3>"$home/answer" 4<"$home/told"
    while IFS= read -r line <&4; do
        echo "$line" >&2
        case $line in
        http*)
            "$NODE" -e 'fetch(process.argv[1], { redirect: "manual" }).then((page) => console.log(page.headers.get("location")))' "$line" >&3
            break
            ;;
        esac
    done
    exec 3>&-
    cat <&4 >&2
    exec 4<&-
    rm "$home/answer" "$home/told"
    wait "$program"
}

of_context() {
    "$NODE" -p "JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT).$1"
}

case $MCP_CONFORMANCE_SCENARIO in
initialize) "$PROGRAM" mcp add it "$url" --dry-run ;;
tools_call)
    add
    "$PROGRAM" tool call it_add_numbers '{"a": 2, "b": 3}'
    ;;
sse-retry)
    add
    "$PROGRAM" tool call it_test_reconnection
    ;;
auth/basic-cimd)
    login --client-id https://conformance-test.local/client-metadata.json
    add
    "$PROGRAM" tool call it_test_tool
    ;;
auth/pre-registration)
    to=
    for place in $places; do to="$to --to $place"; done
    # shellcheck disable=SC2086
    of_context client_secret | "$PROGRAM" secret set client $to
    login --client-id "$(of_context client_id)" --client-secret client
    add
    "$PROGRAM" tool call it_test_tool
    ;;
auth/scope-step-up)
    login
    add
    # It refuses a call for want of a scope, which the next login asks for.
    "$PROGRAM" tool call it_test_tool && exit 1
    login
    "$PROGRAM" tool call it_test_tool
    ;;
auth/scope-retry-limit)
    login
    # Whatever a login may do is not enough: each is a person's own act, and nothing asks for another one by itself.
    add && exit 1
    login
    add
    ;;
auth/*)
    login
    add
    "$PROGRAM" tool call it_test_tool
    ;;
*)
    echo "client.sh: the scenario $MCP_CONFORMANCE_SCENARIO is left out" >&2
    exit 2
    ;;
esac
