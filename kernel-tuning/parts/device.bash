# shellcheck shell=bash
# Settings of a network device that ethtool reads and sets, under names of the form DEVICE:WHAT:FIELD; and its queues and
# interrupts.
#
#   rings      rx, tx             entries of a receive or send ring
#   channels   combined, rx, tx   queues
#   coalesce   adaptive-rx        whether the device itself chooses how long it gathers packets before it interrupts

# device_section DEVICE WHAT: the text of ethtool, in $text; empty where it cannot be had.
device_section() {
    local flag
    case $2 in
        rings) flag=-g ;;
        channels) flag=-l ;;
        coalesce) flag=-c ;;
    esac
    text=''
    ! command -v ethtool >/dev/null || text=$(LC_ALL=C ethtool "$flag" "$1" 2>/dev/null) || text=''
}

# How ethtool spells a field, in $label.
field_label() {
    case $1 in
        rx) label='RX:' ;;
        tx) label='TX:' ;;
        combined) label='Combined:' ;;
        adaptive-rx) label='Adaptive RX:' ;;
    esac
}

# device_field TEXT PART FIELD: what ethtool says of FIELD, in $result, or "absent". PART is max or now.
device_field() {
    local line part=now label found
    result=absent
    field_label "$3"
    while IFS= read -r line; do
        case $line in
            'Pre-set maximums:'*) part=max ;;
            'Current hardware settings:'*) part=now ;;
            "$label"*)
                read -r found _ <<<"${line#"$label"}"
                if [[ $part == "$2" && $found != n/a ]]; then
                    result=$found
                fi
                ;;
        esac
    done <<<"$1"
}

# device_value NAME: in $result.
device_value() {
    local device what field
    IFS=: read -r device what field <<<"$1"
    device_section "$device" "$what"
    device_field "$text" now "$field"
}

# device_set NAME VALUE
device_set() {
    local device what field
    IFS=: read -r device what field <<<"$1"
    case $what in
        rings) ethtool -G "$device" "$field" "$2" ;;
        channels) ethtool -L "$device" "$field" "$2" ;;
        coalesce) ethtool -C "$device" "$field" "$2" ;;
    esac >/dev/null 2>&1
}

# cpu_list TEXT: the numbers in a list such as 0-3,8; in $cpus.
cpu_list() {
    local part parts number
    cpus=()
    IFS=, read -ra parts <<<"$1"
    for part in "${parts[@]}"; do
        if [[ $part =~ ^([0-9]{1,4})-([0-9]{1,4})$ ]]; then
            for ((number = BASH_REMATCH[1]; number <= BASH_REMATCH[2]; number++)); do
                cpus+=("$number")
            done
        elif [[ $part =~ ^[0-9]{1,4}$ ]]; then
            cpus+=("$part")
        else
            return 1
        fi
    done
    ((${#cpus[@]}))
}

# cpu_mask NUMBER...: as the kernel writes masks, in $result: hexadecimal words of 32, the highest first.
cpu_mask() {
    local number most=0 word
    local -a bits=()
    for number in "$@"; do
        word=$((number / 32))
        bits[word]=$((${bits[word]-0} | 1 << number % 32))
        most=$((word > most ? word : most))
    done
    printf -v result '%x' "${bits[most]-0}"
    for ((word = most - 1; word >= 0; word--)); do
        printf -v result '%s,%08x' "$result" "${bits[word]-0}"
    done
}

# queue_count DEVICE rx|tx: in $result.
queue_count() {
    local queue
    result=0
    for queue in "$root/sys/class/net/$1/queues/$2-"*; do
        [[ ! -d $queue ]] || result=$((result + 1))
    done
}

# queue_interrupts DEVICE: "QUEUE IRQ" of each interrupt that belongs to a queue, in $interrupts. An interrupt whose name does
# not tell its queue is none of ours.
queue_interrupts() {
    local folder entry irq line
    local -A of_device=()
    interrupts=()
    for folder in "$root/sys/class/net/$1/device/msi_irqs" "$root/sys/class/net/$1/device/../msi_irqs"; do
        for entry in "$folder"/*; do
            [[ ! -e $entry ]] || of_device[${entry##*/}]=yes
        done
    done
    [[ -r $root/proc/interrupts ]] || return 0
    local queue='(TxRx-|Tx-Rx-|rxtx-|comp|rx-|tx-|rx|tx|(in|out)put\.)([0-9]+)(@.*)?$'
    while IFS= read -r line; do
        [[ $line =~ ^[[:space:]]*([0-9]+): ]] || continue
        irq=${BASH_REMATCH[1]}
        [[ -n ${of_device[$irq]-} && ${line##* } =~ $queue ]] || continue
        interrupts+=("${BASH_REMATCH[3]} $irq")
    done <"$root/proc/interrupts"
}
