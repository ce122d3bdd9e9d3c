# shellcheck shell=bash
# Files that make settings last: written whole or not at all, and removed only while they are as they were written.

# fingerprint: of what comes on stdin; in $result.
fingerprint() {
    local sum size rest
    read -r sum size rest < <(cksum)
    result=$sum-$size
}

# left_by_us PATH: whether a file is as one of our runs has left it.
left_by_us() {
    local line kind name was set rest
    fingerprint <"$root$1"
    for line in "${lines[@]+"${lines[@]}"}"; do
        IFS='|' read -r kind name was set rest <<<"$line"
        if [[ $kind == file && $name == "$1" && $set == "$result" ]]; then
            return 0
        fi
    done
    return 1
}

# is_free PATH: refuses to go on if a file is there that we do not know.
is_free() {
    if [[ -e $root$1 || -L $root$1 ]]; then
        left_by_us "$1" || die "$1 exists, and not as this script has left it: move it out of the way"
    fi
}

# make_folder PATH: remembers each folder that was not there.
make_folder() {
    [[ ! -d $root$1 ]] || return 0
    make_folder "${1%/*}"
    remember folder "$1" absent made
    mkdir "$root$1"
}

# write_file PATH TEXT
write_file() {
    if [[ $dry_run == yes ]]; then
        say "would write $1:"
        local line
        while IFS= read -r line; do
            say "    $line"
        done <<<"$2"
        return
    fi
    make_folder "${1%/*}"
    fingerprint <<<"$2"
    local new=$result
    if [[ -e $root$1 ]]; then
        fingerprint <"$root$1"
        [[ $result != "$new" ]] || return 0
    fi
    remember file "$1" absent "$new"
    printf '%s\n' "$2" >"$root$1.roadstead-new"
    chmod 0644 "$root$1.roadstead-new"
    mv -f "$root$1.roadstead-new" "$root$1"
    say "wrote $1"
}

# remove_files: all that the journal tells of. Leaves alone, and says so, what someone else has changed since.
remove_files() {
    local i kind name was set rest removed=no
    for ((i = ${#lines[@]} - 1; i >= 0; i--)); do
        IFS='|' read -r kind name was set rest <<<"${lines[i]}"
        case $kind in
            file) remove_file "$name" ;;
            folder)
                [[ $dry_run == yes ]] || rmdir "$root$name" 2>/dev/null || true
                ;;
        esac
    done
    [[ $removed == no ]] || reload_systemd
}

remove_file() {
    [[ $dry_run == yes ]] || rm -f "$root$1.roadstead-new"
    [[ -e $root$1 ]] || return 0
    if ! left_by_us "$1"; then
        say "left $1: it was changed by someone else since"
        foreign=1
    elif [[ $dry_run == yes ]]; then
        say "would remove $1"
    elif rm -f "$root$1" 2>/dev/null; then
        say "removed $1"
        removed=yes
    else
        say "could not remove $1"
        stuck=1
    fi
}

# warn_of_overrides FILE TEXT: says which settings of TEXT a file that is read after FILE, in the same folder, sets as well.
warn_of_overrides() {
    local other line name
    for other in "$root${1%/*}"/*.conf; do
        [[ -r $other && ${other##*/} > ${1##*/} ]] || continue
        while IFS= read -r line || [[ -n $line ]]; do
            [[ $line =~ ^[[:space:]]*-?([a-z0-9_./]+)[[:space:]]*= ]] || continue
            name=${BASH_REMATCH[1]//\//.}
            if [[ $'\n'$2 == *$'\n'"$name = "* ]]; then
                say "${other#"$root"} sets $name too, and wins at the next boot"
            fi
        done <"$other"
    done
}

# Lets systemd read its units again, where it runs.
reload_systemd() {
    if [[ -z $root && -d /run/systemd/system ]]; then
        systemctl daemon-reload || say 'systemctl daemon-reload failed: run it by hand'
    fi
}
