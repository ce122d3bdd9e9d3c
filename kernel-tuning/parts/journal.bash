# shellcheck shell=bash
# Remembers what was, so that it can be had again: an undo journal.
#
# A line is written before the change that it describes:  KIND | NAME | WAS | SET | end
# A change that a line tells of may or may not have happened; which of the two, the value itself says. So being killed at any
# point loses nothing, and lines left behind by a reboot harm nothing: a value that is neither WAS nor SET is
# someone else's, and is left alone. A line without its end was torn, and nothing happened after it.
#
#   value   NAME is a path; WAS and SET are what stands in it
#   file    NAME is a path that did not exist and is ours
#   folder  NAME is a path that did not exist
#   device  NAME is DEVICE:WHAT:FIELD of ethtool (see device.bash)

# Whether changes are only told.
dry_run=no

# Of a run: something could not be set, something could not be undone, something is someone else's by now.
failed=0
stuck=0
foreign=0

# Where changes of what subject are remembered, in $journal. Those of other network namespaces end with the machine's run.
open_journal() {
    find_namespace
    local folder=$root/var/lib/roadstead-tuning
    [[ -z $namespace ]] || folder=/run/roadstead-tuning/net-$namespace
    journal=$folder/$1
}

# One change at a time. The lock ends with the process.
lock_journal() {
    mkdir -p "${journal%/*}"
    exec {lock}>"${journal%/*}/lock"
    if command -v flock >/dev/null; then
        flock -n "$lock" || die "another run is changing settings (${journal%/*}/lock)"
    fi
}

# remember KIND NAME WAS SET
remember() {
    local last=''
    [[ ! -s $journal ]] || last=$(tail -c 1 "$journal" && printf x)
    [[ -z $last || $last == $'\n'x ]] || printf '\n' >>"$journal"
    printf '%s|%s|%s|%s|end\n' "$@" >>"$journal"
}

# The lines of the journal, newest last, in $lines.
read_journal() {
    lines=()
    [[ -f $journal ]] || return 0
    local line
    while IFS= read -r line || [[ -n $line ]]; do
        [[ $line == *'|end' ]] && lines+=("$line")
    done <"$journal"
    return 0
}

# title NAME: a setting's as people write it; in $result.
title() {
    result=$1
    if [[ $1 == /proc/sys/* ]]; then
        result=${1#/proc/sys/}
        result=${result//\//.}
    fi
}

# same ONE OTHER: whether two values differ in nothing but spaces.
same() {
    local one
    words "$1" && one=$result && words "$2" && [[ $one == "$result" ]]
}

# read_value KIND NAME: in $result, or "absent". Masks of processors lose the zeros before them.
read_value() {
    case $1 in
        value) first_line "$2" ;;
        device) device_value "$2" ;;
    esac
    if [[ $2 == *_cpus ]]; then
        while [[ $result == [0,]?* ]]; do
            result=${result#?}
        done
    fi
}

# write_value KIND NAME VALUE: whether it could be written.
write_value() {
    case $1 in
        value) printf '%s\n' "$3" 2>/dev/null >"$root$2" ;;
        device) device_set "$2" "$3" ;;
    esac 2>/dev/null
}

# change KIND NAME WAS SET: remembers and does it, or says that it would be done.
change() {
    title "$2"
    local title=$result
    if [[ $dry_run == yes ]]; then
        say "would set $title to $4 (is $3)"
        return
    fi
    remember "$@"
    if write_value "$1" "$2" "$4"; then
        read_value "$1" "$2"
        local now=$result
        if same "$now" "$4"; then
            say "set $title to $4 (was $3)"
            return
        elif ! same "$now" "$3"; then
            # Rounded by a device to what it can do.
            remember "$1" "$2" "$4" "$now"
            say "set $title to $now (was $3, should be $4)"
            return
        fi
    fi
    say "could not set $title to $4: it is refused"
    failed=1
}

# What a value was before our changes, in $result, and whether its present state is one that we made, in $ours.
before_us() {
    local kind=$1 name=$2 i line_kind line_name was set rest
    read_value "$kind" "$name"
    local now=$result found=no
    ours=no
    for ((i = ${#lines[@]} - 1; i >= 0; i--)); do
        IFS='|' read -r line_kind line_name was set rest <<<"${lines[i]}"
        [[ $line_kind == "$kind" && $line_name == "$name" ]] || continue
        if same "$now" "$set"; then
            now=$was
            ours=yes
        elif ! same "$now" "$was"; then
            [[ $found == yes ]] || ours=foreign
            break
        fi
        found=yes
    done
    result=$now
}

# undo_values KIND: gives back every value of the journal, the newest first. Leaves alone, and says so, what someone else has
# changed since.
undo_values() {
    local i kind name was set rest title
    local -A done_with=()
    for ((i = ${#lines[@]} - 1; i >= 0; i--)); do
        IFS='|' read -r kind name was set rest <<<"${lines[i]}"
        [[ $kind == "$1" && -z ${done_with[$name]-} ]] || continue
        done_with[$name]=yes
        title "$name"
        title=$result
        before_us "$kind" "$name"
        was=$result
        if [[ $ours == foreign ]]; then
            read_value "$kind" "$name"
            if [[ $result == absent ]]; then
                say "$title is no longer there"
            else
                say "left $title at $result: it was changed by someone else since"
                foreign=1
            fi
        elif [[ $ours == yes ]]; then
            if [[ $dry_run == yes ]]; then
                say "would set $title back to $was"
            elif write_value "$kind" "$name" "$was" && read_value "$kind" "$name" && same "$result" "$was"; then
                say "set $title back to $was"
            else
                say "could not set $title back to $was"
                stuck=1
            fi
        fi
    done
}

# finish_apply: ends the run with its exit code.
finish_apply() {
    exit "$failed"
}

# nothing_to_revert: ends the run if nothing is remembered.
nothing_to_revert() {
    [[ ! -e $journal ]] || return 0
    say 'nothing to revert'
    [[ $dry_run == yes ]] || tidy_up
    exit 0
}

# finish_revert: ends the journal if everything in it was undone, and the run with its exit code.
finish_revert() {
    if ((stuck)); then
        say "not everything could be undone; it is still remembered in $journal"
        exit 1
    fi
    if [[ $dry_run == no ]]; then
        rm -f "$journal"
        tidy_up
    fi
    exit "$foreign"
}

# tidy_up: removes what is left where nothing is remembered any more.
tidy_up() {
    local folder=${journal%/*} entry
    for entry in "$folder"/*; do
        [[ ! -e $entry || ${entry##*/} == lock ]] || return 0
    done
    rm -f "$folder/lock" 2>/dev/null || true
    rmdir "$folder" 2>/dev/null || true
    [[ -z $namespace ]] || rmdir /run/roadstead-tuning 2>/dev/null || true
}
