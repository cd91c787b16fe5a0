# What the scripts here share. They need sh, curl, sed and grep, and in the environment:
#   OBOL_URL, OBOL_KEY                              a served instance, a license with some credits
#   OBOL_SUSPENDED_KEY, OBOL_EXPIRED_KEY, OBOL_POOR_KEY   licenses that are refused (the last has 1
#                                                   credit); without them those cases are left out
: "${OBOL_URL:?set it to the address of a served instance, such as http://127.0.0.1:8000}"
: "${OBOL_KEY:?set it to a license key}"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
failures=0
auth="Authorization: Bearer $OBOL_KEY"
json='Content-Type: application/json'
# A key that no earlier run has used.
once=$(date +%s)-$$

# call CURL-ARGUMENTS... PATH: leaves the status in $status, body and headers in $work.
call() {
    for path in "$@"; do :; done
    status=$(curl -sS --globoff --max-time 60 -o "$work/body" -D "$work/headers" -w '%{http_code}' "$@" 2>"$work/error") ||
        status="$status, and curl says: $(cat "$work/error")"
}

# expect STATUS PATTERN CURL-ARGUMENTS... URL: the status, and a body with a line like PATTERN.
expect() {
    wanted=$1 pattern=$2
    shift 2
    : >"$work/body"
    call "$@"
    if [ "$status" != "$wanted" ]; then
        not_ok "$wanted $path: the status is $status"
    elif ! grep -q -e "$pattern" "$work/body"; then
        not_ok "$wanted $path: nothing like $pattern"
    else
        echo "ok $wanted $path $pattern"
    fi
}

# expect_header PATTERN: about the call before.
expect_header() {
    if tr -d '\r' <"$work/headers" | grep -qi -e "$1"; then echo "ok header $1"; else not_ok "header $1"; fi
}

# expect_same FILE: the last body is FILE, byte for byte.
expect_same() {
    if cmp -s "$1" "$work/body"; then echo "ok byte for byte the same"; else not_ok "another body than the first time"; fi
}

# expect_equal WHAT VALUE VALUE
expect_equal() {
    if [ "$2" = "$3" ]; then echo "ok $1 is $2"; else not_ok "$1 is $2, not $3"; fi
}

not_ok() {
    failures=$((failures + 1))
    echo "not ok $1"
    sed 's/^/    /' "$work/body"
}

# keep NAME: the last body as a file, whose path it prints.
keep() {
    cp "$work/body" "$work/$1"
    echo "$work/$1"
}

# field NAME: its first value in the last body, without quotes.
field() {
    tr -d '\n' <"$work/body" | sed -n 's/.*"'"$1"'": *"\{0,1\}\([^",}]*\).*/\1/p'
}

balance() {
    call -H "$auth" "$OBOL_URL/api/v1/license"
    field balance
}

finish() {
    [ "$failures" = 0 ] || { echo "$failures failed"; exit 1; }
}
