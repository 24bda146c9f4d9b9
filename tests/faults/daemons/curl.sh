#!/bin/sh
# A daemon of somebody else's, put into a cell of the lab: a shell script around `curl -N`, as many are.
#
#     python -m tests.faults run rst --daemon "sh tests/faults/daemons/curl.sh"
#
# It is told everything by its environment (see tests/faults/daemon.py) and says on standard output what happens to it,
# a line each (see tests/faults/lines.py). Needed are `state streaming` and `wake`. By `state backing-off` the lab knows
# that it has noticed, by `failed CLOCK` by which of its clocks, and by `pulled` that it lost nothing.
# The token goes to curl in a file, since whoever can see a process can see its arguments.
set -u
folder=$(mktemp -d)
mkfifo "$folder/stream"
curl=
trap 'kill $curl 2>/dev/null; rm -rf "$folder"' EXIT
trap 'exit 0' TERM
printf 'header = "Authorization: Bearer %s"\n' "$FAULTS_TOKEN" >"$folder/token"
[ -z "$FAULTS_CA" ] || printf 'cacert = "%s"\n' "$FAULTS_CA" >>"$folder/token"

pull() {
    since=$(cat "$folder/last" 2>/dev/null)
    ids=$(curl -s -m 1 --unix-socket "${FAULTS_PULL#unix://}" -K "$folder/token" \
        "http://relay/v1/events/$FAULTS_SLOT?limit=1000&since=$since" |
        grep -o '"event_id": *"[^"]*"' | sed 's/.*"\([^"]*\)"$/\1/')
    [ -n "$ids" ] || return 0
    echo "$ids" | tail -n 1 >"$folder/last"
    echo pulled $ids
}

while :; do
    echo state connecting
    curl -siN --connect-timeout 1 -Y 1 -y 2 -K "$folder/token" "$FAULTS_URL" >"$folder/stream" &
    curl=$!
    while IFS= read -r line; do
        case $line in
            HTTP/1.1\ 200*) echo state streaming; echo wake; pull ;;
            data:*) echo wake; pull ;;
        esac
    done <"$folder/stream"
    wait "$curl"
    status=$?
    case $status in
        28) echo failed read curl gave up ;;
        *) echo failed peer curl ended with "$status" ;;
    esac
    echo state backing-off
    sleep 0.5
done
