# Read by bench.sh and layout.sh: a server and a provider without delay, both on loopback, in a directory that goes with the
# script, as they do. Wants `bin`, the directory with the built programs.
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
unset ARE_URL ARE_TOKEN ARE_MODEL ARE_LOCAL_LLM OPENAI_BASE_URL ANTHROPIC_API_KEY ANTHROPIC_AUTH_TOKEN
export ARE_POLICY=strict ARE_WORKSPACE="$work/files" OPENAI_API_KEY=key-of-no-worth

field() {
    sed 's/.*"'"$1"'":"\([^"]*\)".*/\1/' "$2"
}
start_provider() {
    "$bin/zero_delay_provider" "$@" > "$work/provider" & provider=$!
    until [ -s "$work/provider" ]; do sleep 0.05; done
    OPENAI_BASE_URL=$(field base_url "$work/provider")
    export OPENAI_BASE_URL ARE_MODEL=openai:bench
}
end_provider() {
    kill "$provider"; wait "$provider" 2>/dev/null || true
    provider=
    : > "$work/provider"
}
# start_server NAME [WRAPPER…]: one with a data directory of that name, which verbs find from here on.
start_server() {
    data=$work/data-$1 log=$work/log-$1; shift
    "$@" "$bin/are" --json start --port 0 --data-dir "$data" > "$work/ready" 2> "$log" & server=$!
    until [ -s "$work/ready" ]; do
        kill -0 "$server" 2>/dev/null || { cat "$log" >&2; exit 1; }
        sleep 0.05
    done
    ARE_URL=$(field address "$work/ready") ARE_TOKEN=$(cat "$data/admin.token")
    export ARE_URL ARE_TOKEN
}
end_server() {
    unset ARE_URL ARE_TOKEN
    kill "$server"; wait "$server" || true
    server=
    : > "$work/ready"
}
