#!/usr/bin/env bash
# Does what docs/getting-started.md says, in an empty directory, and compares what is printed with the page.
#
#   scripts/getting-started.sh [--pki]
#
# Of the page, the fenced blocks count: `sh` is run, in one shell and in order; `text` right after a `sh` block is what that block prints,
# where `...` stands for anything; a block after a line that is nothing but `path`: is written to this path. Three things differ from what
# a reader types: tower-mesh and the versions are this checkout's, the ports are free ones, and the build goes to target/getting_started.
#
# With --pki the certificates are those of `tower-mesh pki`, the page's other way, and not openssl's.
set -euo pipefail
# What fails inside a block says so here, not into what the block prints.
exec 3>&2

way=${1:-}
case $way in
'' | --pki) ;;
*) echo "$0: $way is unknown" >&2 && exit 2 ;;
esac

checkout=$(cd "$(dirname "$0")/.." && pwd)
page=$checkout/docs/getting-started.md
work=$(mktemp -d)
blocks=$work/.blocks
mkdir "$blocks"

# Whatever the page started in the background ends with this script.
finish() {
    local status=$? job
    exec >&3 2>&3
    for job in $(jobs -p); do
        kill "$job" 2>/dev/null || true
    done
    wait || true
    if [ "$status" -ne 0 ]; then
        echo "failed: line ${at:-?} of $page"
        [ -z "${printed:-}" ] || sed 's/^/  printed: /' "$printed"
        tail -n 20 "$work"/clinic/*.log 2>/dev/null || true
    fi
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT

free_port() {
    local port
    for _ in $(seq 100); do
        port=$((20000 + RANDOM % 10000))
        if ! (exec 4<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
    echo "no free port" >&2
    return 1
}

# Each block as a file: NUMBER.LINE.KIND, and for one that is to be written its path in NUMBER.LINE.path.
awk -v out="$blocks" '
    !inside && /^```/ {
        inside = 1; count++; kind = substr($0, 4)
        name = sprintf("%s/%03d.%d.", out, count, NR)
        if (path != "") { print path > (name "path"); kind = "write" }
        else if (kind == "text") { kind = previous == "sh" ? "prints" : "shown" }
        else if (kind != "sh") { print "line " NR ": a block of the kind " kind " that nothing is done with"; exit 1 }
        file = name kind; printf "" > file; previous = kind; path = ""
        next
    }
    inside && /^```$/ { inside = 0; close(file); next }
    inside { print > file; next }
    /^`[^`]+`:$/ { path = substr($0, 2, length($0) - 3); next }
    /./ { path = ""; previous = "" }
' "$page" >&2

patients_port=$(free_port)
charts_port=$patients_port
while [ "$charts_port" = "$patients_port" ]; do
    charts_port=$(free_port)
done
# By way of letters, since a port may hold the other's digits.
sed -i.bak -e 's/8443/PATIENTS_PORT/g' -e 's/8444/CHARTS_PORT/g' \
    -e "s/PATIENTS_PORT/$patients_port/g" -e "s/CHARTS_PORT/$charts_port/g" "$blocks"/*
rm "$blocks"/*.bak

# Whether a text is as the page shows it; `...` is anything.
is_as_shown() {
    local shown=$1 text=$2 pattern
    pattern=$(sed -e 's/[^[:alnum:][:space:]]/\\&/g' -e 's/\\\.\\\.\\\./*/g' <<<"$shown")
    # shellcheck disable=SC2053
    [[ $text == $pattern ]]
}

# A cargo whose tower-mesh and dependencies are this checkout's; what `cargo install` would install is built by it.
mkdir "$work/.bin"
cat >"$work/.bin/cargo" <<END
#!/usr/bin/env bash
for word in "\$@"; do
    shift
    if [ "\$word" = tower-mesh ]; then
        set -- "\$@" --path "$checkout"
    else
        set -- "\$@" "\$word"
    fi
done
# In its place, so that a signal to it reaches what it runs, and its failure is seen.
[ "\$1" = new ] || exec "$(command -v cargo)" "\$@"
# The versions that this checkout is tested with.
"$(command -v cargo)" "\$@" && cp "$checkout/Cargo.lock" "\${!#}/Cargo.lock"
END
cat >"$work/.bin/tower-mesh" <<END
#!/usr/bin/env bash
exec "$(command -v cargo)" run --quiet --manifest-path "$checkout/Cargo.toml" --no-default-features --features cli,pki --bin tower-mesh -- "\$@"
END
chmod +x "$work/.bin/cargo" "$work/.bin/tower-mesh"
export PATH=$work/.bin:$PATH CARGO_TARGET_DIR=$checkout/target/getting_started

cd "$work"
printed= has_pki=no
for file in "$blocks"/*; do
    name=${file##*/}
    at=$(cut -d. -f2 <<<"$name")
    case $name in
    *.path) ;;
    *.shown)
        if [ "$way" = --pki ] && grep -q '^tower-mesh pki' "$file"; then
            echo "== line $at (${SECONDS}s): $(grep '^tower-mesh pki' "$file")"
            rm -r certificates
            # shellcheck source=/dev/null
            source <(grep '^tower-mesh pki' "$file")
            has_pki=yes
        fi
        ;;
    *.write)
        path=$(cat "${file%.write}.path")
        mkdir -p "$(dirname "$path")"
        cp "$file" "$path"
        ;;
    *.sh)
        echo "== line $at (${SECONDS}s): $(head -n 1 "$file")"
        printed=$work/.printed
        # shellcheck source=/dev/null
        source "$file" >"$printed" 2>&1
        ;;
    *.prints)
        [ -n "$printed" ] || continue
        if ! is_as_shown "$(cat "$file")" "$(cat "$printed")"; then
            echo "the page shows:" >&2
            sed 's/^/  shown:   /' "$file" >&2
            exit 1
        fi
        ;;
    esac
done
if [ "$way" = --pki ] && [ "$has_pki" = no ]; then
    echo "the page does not call tower-mesh pki" >&2
    exit 1
fi
echo "== done (${SECONDS}s)"
