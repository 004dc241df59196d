#!/usr/bin/env bash
# Sells a ticket, to see that a marketplace works:
#
#     scripts/sell_a_ticket.sh https://staging.tickets.example.com
#
# Two people sign up, one lists a ticket, the other buys it and pays with the test token tok_visa; all of that stays there.
# TEAM=team:password signs in where only the team may look. Needs bash, curl and python3.
set -euo pipefail

[ $# = 1 ] || { echo "usage: scripts/sell_a_ticket.sh URL" >&2; exit 2; }
url=${1%/}
seconds=60 # for each thing that is waited for
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

fail() {
    echo "No ticket was sold: $1" >&2
    exit 1
}

quoted() { # as a value in curl's configuration
    local text=${1//\\/\\\\}
    printf '"%s"' "${text//\"/\\\"}"
}

# ask PERSON METHOD PATH [JSON]: the answer's status is in $status, its text in $folder/answer. Passwords are on no command line.
ask() {
    status=$(curl --silent --show-error --max-time 30 --output "$folder/answer" --write-out '%{http_code}' \
        --cookie "$folder/$1" --cookie-jar "$folder/$1" --request "$2" --header 'Content-Type: application/json' --data @- \
        --config <([ -z "${TEAM:-}" ] || echo "user = $(quoted "$TEAM")") "$url/api/$3" <<<"${4:-}" 2>"$folder/error") \
        || fail "$url can't be reached ($(cat "$folder/error"))."
}

# field NAME: that of the answer, or nothing where the answer has none.
field() {
    python3 -c 'import json, sys
try:
    print(json.load(open(sys.argv[1])).get(sys.argv[2], ""))
except (ValueError, AttributeError):
    print()' "$folder/answer" "$1"
}

refused() {
    local title
    title=$(field title)
    case $status in
        401) fail "$1: 401 Unauthorized${title:+, $title}. Where only the team may look, set TEAM=team:password." ;;
        *) fail "$1: $status ${title:-from something that is not Admit One}." ;;
    esac
}

# ask_for WHAT PERSON METHOD PATH JSON: asked again for as long as a service has not heard yet what another one did.
ask_for() {
    local what=$1 until=$((SECONDS + seconds)) kind
    shift
    while true; do
        ask "$@"
        [[ $status == 20[012] && -n "$(field id)" ]] && return
        kind=$(field type)
        case ${kind##*:} in
            ticket-unknown | order-not-found | not-payable-yet) [ $SECONDS -lt $until ] || refused "$what" ;;
            *) refused "$what" ;;
        esac
        sleep 0.5
    done
}

# wait_for STATUS: of the buyer's order.
wait_for() {
    local until=$((SECONDS + seconds)) now
    while true; do
        ask buyer GET "orders/$order"
        [ "$status" = 200 ] || refused "the order can't be read"
        now=$(field status)
        [ "$now" != "$1" ] || return 0
        case $now in created | awaiting:payment) ;; *) fail "the order is $now, not $1." ;; esac
        [ $SECONDS -lt $until ] || fail "after $seconds seconds the order is still $now, not $1."
        sleep 0.2
    done
}

begun=$SECONDS
me=$(python3 -c 'import secrets; print(secrets.token_hex(6))')
for person in seller buyer; do
    password=$(python3 -c 'import secrets; print(secrets.token_urlsafe(24))')
    ask_for "the $person can't sign up" "$person" POST users/signup "{\"email\": \"$person-$me@example.com\", \"password\": \"$password\"}"
done
ask_for "the ticket can't be listed" seller POST tickets "{\"title\": \"Trial ticket $me\", \"price\": 10}"
ticket=$(field id)
ask_for "the ticket can't be bought" buyer POST orders "{\"ticketId\": \"$ticket\", \"price\": 10}"
order=$(field id)
wait_for awaiting:payment
ask_for "the order can't be paid" buyer POST payments "{\"orderId\": \"$order\", \"token\": \"tok_visa\"}"
wait_for complete
echo "A ticket was sold at $url: order $order is complete, after $((SECONDS - begun)) s."
