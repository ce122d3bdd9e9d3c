# shellcheck shell=bash
# What this machine is: reads /proc and /sys below $root, and says what belongs to the network namespace it is called in.

# The folder that stands for / (for tests, and for machines that are prepared from outside).
root=''

# usage: prints the comment at the head of the command's file, as was asked for.
usage() {
    local line number=0
    while IFS= read -r line && [[ $line == '#'* ]]; do
        ((number++ == 0)) || { line=${line#\#} && printf '%s\n' "${line# }"; }
    done <"$0"
    exit 0
}

# wrong TEXT: says what is wrong with the command line.
wrong() {
    printf '%s: %s (--help says how it is used)\n' "${0##*/}" "$*" >&2
    exit 2
}

# count_given FLAG TEXT: whether TEXT is a number of connections; in $result.
count_given() {
    [[ ${2-} =~ ^[1-9][0-9]{0,8}$ ]] || wrong "$1 wants a number, 1 to 999999999"
    result=$2
}

# root_given TEXT
root_given() {
    [[ -n ${1-} && -d $1 ]] || wrong '--root wants a folder'
    root=${1%/}
}

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

say() {
    printf '%s\n' "$*"
}

# first_line PATH: in $result, or "absent" where there is none, or it cannot be read.
first_line() {
    result=absent
    if [[ -r $root$1 ]]; then
        result=''
        IFS= read -r result 2>/dev/null <"$root$1" || [[ -n $result ]] || result=absent
    fi
}

# words TEXT: in $result, with single spaces.
words() {
    local parts
    read -ra parts <<<"$1"
    result="${parts[*]-}"
}

# field PATH LABEL COLUMN: the COLUMNth word after LABEL in the line that begins with LABEL; in $result, or "absent".
field() {
    local line parts
    result=absent
    [[ -r $root$1 ]] || return 0
    while IFS= read -r line; do
        if [[ $line == "$2"* ]]; then
            read -ra parts <<<"${line#"$2"}"
            result=${parts[$3 - 1]-absent}
            return 0
        fi
    done <"$root$1"
}

# The network namespace, in $namespace: "" for the machine's own, else its number. Only the machine's own shows the settings
# that there are once.
find_namespace() {
    namespace=''
    if [[ -z $root && ! -e /proc/sys/net/ipv4/tcp_mem ]]; then
        namespace=$(readlink /proc/self/ns/net) || die 'cannot tell the network namespace'
        namespace=${namespace//[^0-9]/}
    fi
}

# needs_root: whether changes are possible at all.
needs_root() {
    [[ -n $root ]] || ((EUID == 0)) || die 'changes need root'
}
