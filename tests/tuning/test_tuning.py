"""kernel-tuning/ as an operator runs it: on a made-up machine below a folder, and for real in a network namespace.

Nothing here changes this machine: what is written is below a folder of the test, or belongs to a network namespace that
ends with it, in which the settings that there is only one of are mounted read-only.
"""

import os
import shutil
import subprocess
import textwrap

import pytest

TUNING = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "kernel-tuning")
COMMANDS = ("check", "apply", "revert", "nic", "conntrack")

SYSCTLS = {
    "net/core/somaxconn": "4096",
    "net/core/netdev_max_backlog": "1000",
    "net/core/busy_poll": "0",
    "net/core/busy_read": "0",
    "net/ipv4/tcp_max_syn_backlog": "2048",
    "net/ipv4/tcp_syncookies": "1",
    "net/ipv4/tcp_mem": "287898\t383867\t2000000",
    "net/ipv4/tcp_slow_start_after_idle": "1",
    "net/ipv4/tcp_ehash_entries": "262144",
    "net/ipv4/ip_local_port_range": "32768\t60999",
    "net/ipv4/tcp_tw_reuse": "2",
    "fs/file-max": "2466170",
    "fs/nr_open": "1048576",
    "kernel/io_uring_disabled": "2",
    "kernel/panic": "10",
}


class Machine:
    """A made-up machine: what /proc, /sys and /etc of one would say, below a folder."""

    def __init__(self, root):
        self.root = root
        for name, value in SYSCTLS.items():
            self.put(f"proc/sys/{name}", value)
        self.put("proc/meminfo", "MemTotal:       25000000 kB\nMemAvailable:   23000000 kB")
        self.put("proc/self/limits", "Max open files            1024                 20000       files")
        self.put("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet")
        self.put("etc/sysctl.d/99-others.conf", "kernel.panic = 10")
        os.makedirs(root / "var/lib")

    def put(self, path, text):
        os.makedirs(os.path.dirname(self.root / path), exist_ok=True)
        (self.root / path).write_text(text + "\n")

    def get(self, path):
        return (self.root / path).read_text()

    def sysctl(self, name):
        return self.get(f"proc/sys/{name.replace('.', '/')}").strip()

    def run(self, command, *arguments, code=0):
        """Runs a command of kernel-tuning on this machine: what it says."""
        return run([os.path.join(TUNING, command), *arguments, "--root", str(self.root)], code)

    def picture(self):
        """Every file and folder with its content."""
        seen = {}
        for folder, _, files in os.walk(self.root):
            seen[folder] = None
            for name in files:
                path = os.path.join(folder, name)
                with open(path) as file:
                    seen[path] = file.read()
        return seen


def run(command, code=0):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    assert code is None or done.returncode == code, done.stdout
    return done.stdout


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_shellcheck_has_nothing_to_say():
    follow = ("--external-sources", "--check-sourced", "--source-path=SCRIPTDIR")
    run(["shellcheck", *follow, *(os.path.join(TUNING, name) for name in COMMANDS)])


@pytest.mark.parametrize("command", COMMANDS)
def test_usage_is_taught(command):
    script = os.path.join(TUNING, command)
    helped = subprocess.run([script, "--help"], capture_output=True, text=True, timeout=60)
    assert (helped.returncode, helped.stderr) == (0, "")
    assert "Exit code 0" in helped.stdout and "#" not in helped.stdout and helped.stdout.endswith("usage.\n")
    refused = subprocess.run([script, "--sail"], capture_output=True, text=True, timeout=60)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "unknown argument" in refused.stderr


def test_check_tells_what_is_and_what_cures_it(machine):
    before = machine.picture()
    text = machine.run("check", "--connections", "1000000", code=1)
    lines = [line.split() for line in text.splitlines()]
    for line in (
        ["COST", "net.core.somaxconn", "4096", ">=", "65535"],
        ["ok", "fs.file-max", "2466170", ">=", "1065536"],
        ["COST", "kernel.io_uring_disabled", "2", "0"],
        ["ok", "memory", "available", "23000000", ">=", "4634720"],
    ):
        assert line in lines
    assert 'sysctl -w net.ipv4.tcp_mem="500000 750000 2000000"' in text
    assert "LimitNOFILE=1001000 or more" in text and "ulimit -n 1001000" not in text
    assert "ip_local_port_range" not in text, "of the machine that makes the connections"
    assert "ip_local_port_range" in machine.run("check", "--load", code=1)
    assert "STOP  memory available" in machine.run("check", "--connections", "9000000", code=1)
    assert "listen(2)" in machine.run("check", "--explain", code=1)
    assert machine.picture() == before


def test_apply_is_idempotent_and_revert_gives_back_what_was(machine):
    before = machine.picture()
    would = machine.run("apply", "--connections", "1000000", "--load", "--dry-run")
    assert "would set net.core.somaxconn to 65535 (is 4096)" in would
    assert machine.picture() == before
    machine.run("apply", "--connections", "1000000", "--load")
    assert machine.sysctl("net.core.somaxconn") == "65535"
    assert machine.sysctl("net.ipv4.tcp_mem") == "500000 750000 2000000", "what suffices stays"
    assert machine.sysctl("net.ipv4.ip_local_port_range") == "1024 65535"
    assert machine.sysctl("kernel.io_uring_disabled") == "2", "not to be decided by a script"
    assert machine.sysctl("kernel.panic") == "10"
    applied = machine.picture()
    assert machine.run("apply", "--connections", "1000000", "--load") == ""
    assert machine.picture() == applied
    assert "would set net.core.somaxconn back to 4096" in machine.run("revert", "--dry-run")
    assert machine.picture() == applied
    machine.run("revert")
    assert machine.picture() == before
    assert machine.run("revert") == "nothing to revert\n"


def test_a_larger_target_is_applied_on_top_and_reverted_as_one(machine):
    before = machine.picture()
    for connections in ("10000", "2000000", "500"):
        machine.run("apply", "--connections", connections)
    assert machine.sysctl("net.core.somaxconn") == "65535"
    assert machine.sysctl("fs.nr_open") == "2001000"
    machine.run("revert")
    assert machine.picture() == before


def test_what_suffices_is_not_touched(machine):
    machine.put("proc/sys/net/core/somaxconn", "70000")
    assert "somaxconn" not in machine.run("apply")
    assert machine.sysctl("net.core.somaxconn") == "70000"


def test_what_someone_else_changed_is_left_alone(machine):
    machine.run("apply")
    machine.put("proc/sys/net/core/somaxconn", "9999")
    assert "left net.core.somaxconn at 9999" in machine.run("revert", code=1)
    assert machine.sysctl("net.core.somaxconn") == "9999"
    assert machine.sysctl("net.ipv4.tcp_max_syn_backlog") == "2048", "the others are given back"
    assert machine.run("revert") == "nothing to revert\n"


def test_settings_that_last_are_files_of_our_own(machine):
    before = machine.picture()
    assert "would write /etc/sysctl.d/90-roadstead.conf" in machine.run("apply", "--persistent", "--dry-run")
    assert machine.picture() == before
    machine.run("apply", "--persistent", "--connections", "2000000", "--user", "gateway")
    sysctls = machine.get("etc/sysctl.d/90-roadstead.conf")
    assert "net.core.somaxconn = 65535\n" in sysctls and "fs.nr_open = 2001000\n" in sysctls
    assert "tcp_syncookies" not in sysctls, "it was right without us"
    assert "gateway hard nofile 2001000\n" in machine.get("etc/security/limits.d/90-roadstead.conf")
    unit = "etc/systemd/system/roadstead.service.d/90-roadstead-tuning.conf"
    assert machine.get(unit).endswith("[Service]\nLimitNOFILE=2001000\n")
    applied = machine.picture()
    machine.run("apply", "--persistent", "--connections", "2000000", "--user", "gateway")
    assert machine.picture() == applied
    # A reboot: the settings come from the file, and are still known as ours.
    machine.run("apply", "--persistent", "--connections", "1000")
    assert "net.core.somaxconn = 65535\n" in machine.get("etc/sysctl.d/90-roadstead.conf")
    assert "LimitNOFILE=1048576" in machine.get(unit), "never less than the unit has by itself"
    machine.run("revert")
    assert machine.picture() == before


@pytest.mark.parametrize("nr_open", (None, "", "many"))
def test_without_nr_open_the_limit_is_what_any_kernel_allows(machine, nr_open):
    if nr_open is None:
        os.remove(machine.root / "proc/sys/fs/nr_open")
    else:
        (machine.root / "proc/sys/fs/nr_open").write_text(nr_open)
    before = machine.picture()
    unit = "etc/systemd/system/roadstead.service.d/90-roadstead-tuning.conf"
    for connections, warned in (("2000000", True), ("1000", False)):
        assert "LimitNOFILE=1048576" in machine.run("apply", "--persistent", "--connections", connections, "--dry-run")
        text = machine.run("apply", "--persistent", "--connections", connections)
        assert ("the limit of open files is 1048576, not 2001000" in text) == warned
        assert machine.get(unit).endswith("LimitNOFILE=1048576\n")
    machine.run("revert")
    assert machine.picture() == before


def test_files_of_others_are_not_touched(machine):
    machine.put("etc/sysctl.d/90-roadstead.conf", "net.core.somaxconn = 1")
    before = machine.picture()
    assert "move it out of the way" in machine.run("apply", "--persistent", code=1)
    after = {path: text for path, text in machine.picture().items() if "roadstead-tuning" not in path}
    assert after == before
    os.remove(machine.root / "etc/sysctl.d/90-roadstead.conf")
    machine.run("apply", "--persistent")
    machine.put("etc/sysctl.d/90-roadstead.conf", "edited by hand")
    assert "left /etc/sysctl.d/90-roadstead.conf" in machine.run("revert", code=1)
    assert machine.get("etc/sysctl.d/90-roadstead.conf") == "edited by hand\n"


def test_bash_and_coreutils_are_enough(machine, tmp_path_factory):
    bare = tmp_path_factory.mktemp("bare")
    for tool in "bash env dirname mkdir mv rm rmdir chmod tail cksum readlink".split():
        os.symlink(shutil.which(tool), bare / tool)
    before = machine.picture()
    for command, *arguments in (("check",), ("apply", "--persistent"), ("revert",)):
        line = [os.path.join(TUNING, command), *arguments, "--root", str(machine.root)]
        done = subprocess.run(line, env={"PATH": str(bare)}, capture_output=True, text=True, timeout=60)
        assert done.stderr == "" and done.returncode == (1 if command == "check" else 0), done
    assert machine.picture() == before


def test_files_that_win_at_the_next_boot_are_named(machine):
    machine.put("etc/sysctl.d/99-sysctl.conf", "# net.core.somaxconn = 1\nnet/ipv4/tcp_max_syn_backlog=7\nkernel.panic=1")
    machine.put("etc/sysctl.d/10-early.conf", "net.core.somaxconn = 1")
    text = machine.run("apply", "--persistent")
    assert "/etc/sysctl.d/99-sysctl.conf sets net.ipv4.tcp_max_syn_backlog too, and wins" in text
    assert text.count(" wins at the next boot") == 1


# Runs a command until it is about to do something, for the so manieth time: then it ends, as by kill -9.
KILLED = r"""
set -T
left=$1
script=$2
shift 2
trap 'case $BASH_COMMAND in
    printf\ * | mkdir\ * | mv\ * | chmod\ * | rm\ * | rmdir\ * | exec\ * | flock\ *) ((left-- > 0)) || kill -9 $$ ;;
esac' DEBUG
. "$script" "$@"
"""


def killed(machine, deeds, command, *arguments):
    """Runs a command until it is killed after so many deeds: whether it was."""
    script = os.path.join(TUNING, command)
    line = ["bash", "-c", KILLED, script, str(deeds), script, *arguments, "--root", str(machine.root)]
    done = subprocess.run(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
    assert done.returncode in (0, -9), done.returncode
    return done.returncode == -9


def test_a_kill_at_any_point_loses_nothing(machine):
    before = machine.picture()
    arguments = ("--persistent", "--connections", "2000000")
    deeds = 0
    while killed(machine, deeds, "apply", *arguments):
        machine.run("revert")
        left = {path: text for path, text in machine.picture().items() if "/roadstead-tuning" not in path}
        assert left == before, f"apply, killed after {deeds} deeds"
        deeds += 1
    assert deeds > 30
    machine.run("revert")
    deeds = 0
    again = True
    while again:
        machine.run("apply", *arguments)
        again = killed(machine, deeds, "revert")
        machine.run("revert")
        assert machine.picture() == before, f"revert, killed after {deeds} deeds"
        deeds += 1
    assert deeds > 20


def test_a_torn_line_of_the_journal_harms_nothing(machine):
    before = machine.picture()
    machine.run("apply", "--connections", "10000")
    journal = machine.root / "var/lib/roadstead-tuning/settings"
    journal.write_text(journal.read_text() + "value|/proc/sys/kernel/pan")
    machine.run("apply", "--connections", "1000000")
    machine.run("revert")
    assert machine.picture() == before


def test_interrupts_follow_the_queues(machine):
    machine.put("sys/devices/system/cpu/online", "0-3")
    for irq in (40, 41, 42, 43):
        machine.put(f"sys/class/net/eth9/device/msi_irqs/{irq}", "msi")
        machine.put(f"proc/irq/{irq}/smp_affinity_list", "0-3")
    machine.put("proc/irq/44/smp_affinity_list", "0-3")
    names = {40: "eth9", 41: "eth9-TxRx-0", 42: "eth9-TxRx-1", 43: "eth9-TxRx-2", 44: "eth8-TxRx-1"}
    lines = [f" {irq}:   1   2  IR-PCI-MSI 5-edge      {name}" for irq, name in names.items()]
    machine.put("proc/interrupts", "            CPU0       CPU1\n" + "\n".join(lines))
    for queue in range(3):
        machine.put(f"sys/class/net/eth9/queues/rx-{queue}/rps_cpus", "00000000,00000000")
        machine.put(f"sys/class/net/eth9/queues/tx-{queue}/xps_cpus", "0")
    before = machine.picture()
    assert "eth9" in machine.run("nic", "check", "eth9", code=1)
    machine.run("nic", "apply", "eth9", "--cpus", "1-3", "--busy-poll", "50")
    affinity = {irq: machine.get(f"proc/irq/{irq}/smp_affinity_list").strip() for irq in names if irq != 40 and irq != 44}
    assert affinity == {41: "1", 42: "2", 43: "3"}
    assert machine.get("proc/irq/40/smp_affinity_list") == "0-3\n", "it belongs to no queue"
    assert machine.get("proc/irq/44/smp_affinity_list") == "0-3\n", "it belongs to another device"
    assert [machine.get(f"sys/class/net/eth9/queues/tx-{queue}/xps_cpus") for queue in range(3)] == ["2\n", "4\n", "8\n"]
    assert machine.sysctl("net.core.busy_poll") == "50"
    machine.run("nic", "apply", "eth9")
    assert machine.get("sys/class/net/eth9/queues/rx-0/rps_cpus") == "f\n", "four processors, three queues"
    machine.run("nic", "revert", "eth9")
    after = machine.picture()
    for path in after:
        if path.endswith("rps_cpus"):
            after[path] = "00000000,00000000\n" if after[path] == "0\n" else after[path]
    assert after == before


NAMESPACE = r"""
set -euo pipefail
for folder in fs kernel vm; do
    mount --bind /proc/sys/$folder /proc/sys/$folder
    mount -o remount,bind,ro /proc/sys/$folder
done
mount -t tmpfs none /run
mount -t sysfs none /sys
ip link set lo up
cd "$TUNING"
"""


def in_namespace(script):
    """Runs a script in a network namespace of its own."""
    line = ["unshare", "--net", "--mount", "bash", "-c", NAMESPACE + textwrap.dedent(script)]
    environment = {**os.environ, "TUNING": TUNING}
    done = subprocess.run(
        line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, env=environment
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def settings_of_this_machine():
    names = [name for name in SYSCTLS if os.path.exists(f"/proc/sys/{name}")]
    return {name: open(f"/proc/sys/{name}").read() for name in names}


def namespaces_allowed():
    try:
        return subprocess.run(["unshare", "--net", "--mount", "true"], stderr=subprocess.DEVNULL).returncode == 0
    except FileNotFoundError:
        return False


namespaces = pytest.mark.skipif(not namespaces_allowed(), reason="network namespaces are not allowed here")


@namespaces
def test_settings_of_a_namespace_are_set_and_given_back():
    before = settings_of_this_machine()
    text = in_namespace(r"""
        list() { cat /proc/sys/net/core/somaxconn /proc/sys/net/ipv4/{tcp_max_syn_backlog,ip_local_port_range,tcp_tw_reuse}; }
        # Some range that is nobody's default.
        echo '20000 30000' >/proc/sys/net/ipv4/ip_local_port_range
        was=$(list)
        ./check --connections 1000000 --load && exit 1
        ./apply --connections 1000000 --load
        [[ $(cat /proc/sys/net/core/somaxconn) == 65535 ]]
        [[ $(cat /proc/sys/net/ipv4/ip_local_port_range) == $'1024\t65535' ]]
        set=$(list)
        ./apply --connections 1000000 --load
        [[ $(list) == "$set" ]]
        ! ./apply --persistent
        ./revert
        [[ $(list) == "$was" ]]
        [[ ! -e /run/roadstead-tuning ]]
        # In another namespace nothing of it is known.
        ./apply >/dev/null
        unshare --net ./revert
        [[ $(cat /proc/sys/net/core/somaxconn) == 65535 ]]
    """)
    assert "tcp_mem belongs to the machine" in text
    assert "--persistent is for the machine" in text
    assert "nothing to revert" in text
    assert settings_of_this_machine() == before


@namespaces
def test_a_device_is_spread_over_the_processors_and_back():
    in_namespace(r"""
        ip link add v0 numrxqueues 4 numtxqueues 4 type veth peer name v1 numrxqueues 4 numtxqueues 4
        ethtool -L v0 rx 1 tx 1
        list() { ethtool -l v0; cat /sys/class/net/*/queues/*/{r,x}ps_cpus 2>/dev/null || true; }
        was=$(list)
        ./nic check v0 --cpus 0-1 && exit 1
        ./nic apply v0 --cpus 0-1 --dry-run
        [[ $(list) == "$was" ]]
        ./nic apply v0 --cpus 0-1
        ./nic check v0 --cpus 0-1
        [[ $(list) != "$was" ]]
        ./nic apply lo --cpus 0-1
        [[ $(cat /sys/class/net/lo/queues/rx-0/rps_cpus) == 3 ]]
        ./nic revert v0
        ./nic revert lo
        [[ $(list) == "$was" ]]
    """)


# A device with rings and coalescing, as ethtool shows it, which rounds what it is asked for as some do.
ETHTOOL = r"""#!/usr/bin/env bash
cd "$(dirname "$0")"
case $1 in
    -g) printf 'Ring parameters for %s:\nPre-set maximums:\nRX:\t\t8192\nRX Mini:\tn/a\nTX:\t\t1024\n' "$2"
        printf 'Current hardware settings:\nRX:\t\t%s\nRX Mini:\tn/a\nTX:\t\t%s\n' "$(<rx)" "$(<tx)" ;;
    -G) case $3 in rx) echo $(($4 < 4000 ? $4 : 4000)) >rx ;; tx) echo "$4" >tx ;; esac ;;
    -c) printf 'Coalesce parameters for %s:\nAdaptive RX: %s  TX: n/a\n' "$2" "$(<adaptive)" ;;
    -C) echo "$4" >adaptive ;;
    *) exit 1 ;;
esac
"""


@namespaces
def test_rings_and_coalescing_are_set_and_given_back(tmp_path):
    for name, text in {"ethtool": ETHTOOL, "rx": "512\n", "tx": "256\n", "adaptive": "off\n"}.items():
        (tmp_path / name).write_text(text)
    os.chmod(tmp_path / "ethtool", 0o755)
    text = in_namespace(f"""
        PATH={tmp_path}:$PATH
        now() {{ cat {tmp_path}/rx {tmp_path}/tx {tmp_path}/adaptive; }}
        ip link add v0 type veth peer name v1
        was=$(now)
        ./nic apply v0 --cpus 0
        [[ $(now) == $'4000\n1024\non' ]]
        ./nic revert v0
        [[ $(now) == "$was" ]]
    """)
    assert "set v0:rings:rx to 4000 (was 512, should be 4096)" in text
    assert "set v0:rings:rx back to 512" in text


@namespaces
def test_a_port_leaves_connection_tracking_and_comes_back():
    text = in_namespace(r"""
        nft add table inet others
        was=$(nft list ruleset)
        ./conntrack check && exit 1
        ./conntrack apply --port 8000 --port 8001 --dry-run
        [[ $(nft list ruleset) == "$was" ]]
        ./conntrack apply --port 8000
        ./conntrack apply --port 8000 --port 8001
        ./conntrack check --port 8000 --port 8001
        ! ./conntrack check --port 80
        # Something that tracks connections; then connections over loopback and from another machine.
        nft 'table inet others { chain in { type filter hook input priority 0; ct state invalid drop; }; }'
        ip netns add far
        ip link add near type veth peer name far netns far
        ip address add 10.9.0.1/24 dev near
        ip link set near up
        ip -n far address add 10.9.0.2/24 dev far
        ip -n far link set far up
        tracked() { cat /proc/sys/net/netfilter/nf_conntrack_count; }
        for port in 8000 9000; do
            for client in "" "ip netns exec far"; do
                python3 -c "
        import socket
        listener = socket.create_server(('10.9.0.1', $port))
        print('ready', flush=True)
        client, _ = listener.accept()
        client.sendall(client.recv(100))
        client.recv(100)
        " >/run/listener &
                until [[ -s /run/listener ]]; do sleep 0.01; done
                before=$(tracked)
                $client bash -c "exec 3<>/dev/tcp/10.9.0.1/$port; echo moin >&3; read -r line <&3; [[ \$line == moin ]]"
                wait
                echo "port $port client ${client:-here} tracked $(($(tracked) - before))"
                >/run/listener
            done
        done
        ./conntrack revert
        ./conntrack revert
        nft delete chain inet others in
        [[ $(nft list ruleset) == "$was" ]]
    """)
    tracked = [line.split() for line in text.splitlines() if line.startswith("port ")]
    assert [(line[1], line[-1]) for line in tracked] == [("8000", "0"), ("8000", "0"), ("9000", "1"), ("9000", "1")]
