# shellcheck shell=bash
# Reads settings.table, what each setting is here, and works out what it should be. Changes nothing.

# The names of all settings, in the order of the table; and "NAME KEY" -> text.
settings=()
declare -A setting=()

# What a formula may name, and its value.
declare -A quantity=()

# read_table FILE
read_table() {
    local line name='' key='' number=0
    while IFS= read -r line || [[ -n $line ]]; do
        number=$((number + 1))
        if [[ $line =~ ^[[:space:]]*(#.*)?$ ]]; then
            key=''
        elif [[ $line =~ ^\[(.+)\]$ ]]; then
            name=${BASH_REMATCH[1]}
            key=''
            settings+=("$name")
        elif [[ $line =~ ^([a-z]+)[[:space:]]*=[[:space:]]*(.*[^[:space:]])[[:space:]]*$ && -n $name ]]; then
            key=${BASH_REMATCH[1]}
            setting[$name $key]=${BASH_REMATCH[2]}
        elif [[ $line =~ ^[[:space:]]+(.*[^[:space:]])[[:space:]]*$ && -n $key ]]; then
            setting[$name $key]+=" ${BASH_REMATCH[1]}"
        else
            die "$1:$number: cannot be read"
        fi
    done <"$1"
}

# measure CONNECTIONS TLS: fills the quantities that formulas name.
measure() {
    quantity['connections']=$1
    quantity['tls']=$2
    quantity['reserved']=1000
    quantity['page_kib']=4
    local page
    page=$(getconf PAGESIZE 2>/dev/null) && [[ $page =~ ^[0-9]+$ ]] && quantity['page_kib']=$((page / 1024))
    field /proc/meminfo MemTotal: 1
    [[ $result =~ ^[0-9]+$ ]] || die "cannot read $root/proc/meminfo"
    quantity['memory_kib']=$result
    field /proc/self/limits 'Max open files' 2
    [[ $result =~ ^[0-9]+$ && $result -gt 0 ]] || result=$((1 << 62))
    quantity['open_files']=$result
}

# setting_is NAME KEY TEXT
setting_is() {
    [[ ${setting[$1 $2]-} == "$3" ]]
}

# formula TEXT: its value in $result. Names and whole numbers, + - * /, from left to right with the usual precedence.
formula() {
    local number='([0-9]{1,12}|[a-z_]+)' word
    local whole="^ *$number( *[-+*/] *$number)* *\$"
    [[ $1 =~ $whole ]] || die "settings.table: no formula: $1"
    local rest=$1 numbers=''
    while [[ $rest =~ ^([^a-z]*)([a-z_]+)(.*)$ ]]; do
        word=${BASH_REMATCH[2]}
        [[ -n ${quantity[$word]-} ]] || die "settings.table: unknown quantity: $word"
        numbers+=${BASH_REMATCH[1]}${quantity[$word]}
        rest=${BASH_REMATCH[3]}
    done
    numbers+=$rest
    result=$((numbers))
}

# should_be NAME: what it should be in $should, one word for each number.
should_be() {
    local rules values floors ceilings i
    if setting_is "$1" rule one-of; then
        should=${setting[$1 value]}
        return
    fi
    IFS=, read -ra values <<<"${setting[$1 value]}"
    IFS=, read -ra floors <<<"${setting[$1 floor]-}"
    IFS=, read -ra ceilings <<<"${setting[$1 ceiling]-}"
    should=''
    for i in "${!values[@]}"; do
        formula "${values[i]}"
        local value=$result
        if ((${#floors[@]})); then
            formula "${floors[i]-${floors[0]}}"
            ((value >= result)) || value=$result
        fi
        if ((${#ceilings[@]})); then
            formula "${ceilings[i]-${ceilings[0]}}"
            ((value <= result)) || value=$result
        fi
        if setting_is "$1" round power-of-two; then
            local power=1
            while ((power < value)); do
                power=$((power * 2))
            done
            value=$power
        fi
        should+="${should:+ }$value"
    done
}

# compare NAME IS: with $should. The verdict in $verdict (ok, low, unknown), what to write in $wanted (as it is, where it
# suffices already), and what should be, in words, in $shown.
compare() {
    local rules parts wants rule i
    verdict=ok
    wanted=''
    shown=''
    if setting_is "$1" rule one-of; then
        shown="${should// / or }"
        wanted=${should%% *}
        [[ " $should " == *" $2 "* ]] || verdict=low
        return
    fi
    IFS=', ' read -ra rules <<<"${setting[$1 rule]}"
    read -ra parts <<<"$2"
    read -ra wants <<<"$should"
    for i in "${!wants[@]}"; do
        rule=${rules[i]-${rules[0]}}
        local one=${parts[i]-} want=${wants[i]} good=no sign
        # A table that a network namespace shares is told as a negative number.
        [[ $one =~ ^-?[0-9]{1,19}$ ]] && one=${one#-} || one=''
        case $rule in
            at-least) sign='>=' && [[ -n $one ]] && ((one >= want)) && good=yes ;;
            at-most) sign='<=' && [[ -n $one ]] && ((one <= want)) && good=yes ;;
            exactly) sign='' && [[ -n $one ]] && ((one == want)) && good=yes ;;
            *) die "settings.table: $1: unknown rule $rule" ;;
        esac
        if [[ -z $one ]]; then
            verdict=unknown
        elif [[ $good == no && $verdict == ok ]]; then
            verdict=low
        fi
        shown+="${shown:+ }${sign:+$sign }$want"
        [[ $good == yes ]] && want=$one
        wanted+="${wanted:+ }$want"
    done
    # A setting of more numbers than the table knows keeps what it is.
    ((${#parts[@]} <= ${#wants[@]})) || verdict=unknown
}

# Where the value of a setting stands, in $result.
setting_path() {
    case ${setting[$1 kind]} in
        sysctl) result="/proc/sys/${1//.//}" ;;
        file) result=${setting[$1 path]} ;;
        *) result='' ;;
    esac
}

# is_now NAME: in $is, with single spaces; "absent" where this kernel does not have it.
is_now() {
    case ${setting[$1 kind]} in
        limit) field /proc/self/limits 'Max open files' 2 ;;
        memory) field /proc/meminfo MemAvailable: 1 ;;
        *) setting_path "$1" && first_line "$result" ;;
    esac
    [[ $result == unlimited ]] && result=9223372036854775807
    [[ $result == absent ]] || words "$result"
    is=$result
}

# matters NAME: whether the setting counts here at all.
matters() {
    local unless=${setting[$1 unless]-}
    [[ -n $unless ]] || return 0
    first_line "/proc/sys/${unless//.//}"
    [[ $result != absent && $result != 0 ]]
}
