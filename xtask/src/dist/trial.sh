# What an operator does with the package, step by step, in a fresh Debian that systemd has booted.
# Prints as libtest does: `test NAME ... ok`, and a line that adds up.
set -u
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
cd /run/job
SOCKET=/run/ntc/ntc-v3.sock
STATE=/tmp/trial
mkdir -p $STATE

say() { echo "$*" >&2; }
fail() { say "$*"; return 1; }

# Looks again until it is so, SECONDS at most.
until_true() {
    local limit=$((SECONDS + $1)); shift
    until "$@"; do
        ((SECONDS < limit)) || { say "never came: $*"; return 1; }
        sleep 0.3
    done
}
ask() { curl -sS --max-time 20 --unix-socket $SOCKET "http://localhost$1"; }
pid() { systemctl show ntc --property MainPID --value; }
ready() { [ "$(ask /readyz 2>/dev/null)" = ready ]; }
another_is_ready() { local now; now=$(pid); [ "$now" != 0 ] && [ "$now" != "$1" ] && ready; }
# Packets that labels acted on.
acted_on() { ntc stats --format json | grep -o '"enforcement":{[^}]*}' | grep -o '"labelled":[0-9]*'; }
client() { ip netns exec client perl traffic.pl "$@"; }
labelled() { ask "/v1/flows?class=management" | grep -q '"service":"DNS'; }
# Time of its first packet and model of the label, which name the flow that goes on through all steps.
call() { ask "/v1/flows?port=$(cat $STATE/port)" | grep -o '"first_ts_ns":[0-9]*' ; }
files() {
    find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /var/log/journal \
        -o -path /etc/.pwd.lock -o -path /var/lib/systemd/timers -o -path /var/cache -o -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/backups \) -prune -o -print |
        grep -v -e '^/var/log/\(dpkg\|alternatives\|apt/.*\)\.log' -e '^/var/log/apt' -e '-$' | sort
}

passed=0 failed=0
step() {
    local start=$SECONDS
    # On its own, since -e is ignored within a condition.
    (set -e; "$1") >"$STATE/said" 2>&1
    if [ $? = 0 ]; then
        passed=$((passed + 1))
        echo "test $1 ... ok"
        grep '^measured: ' "$STATE/said" || true
    else
        failed=$((failed + 1))
        echo "test $1 ... FAILED"
        tail -30 "$STATE/said" | sed 's/^/    /'
        journalctl -u ntc --no-pager -n 20 -o cat | sed 's/^/    ntc: /'
    fi
    echo "    ($((SECONDS - start)) s)" >&2
}

# A client and a server, this machine between them.
network() {
    sysctl -q -w net.ipv4.ip_forward=1
    local number=1 host
    for host in client server; do
        ip netns add $host
        ip link add r$number type veth peer name eth0 netns $host
        ip addr add 192.0.2.$((number * 16 + 1))/28 dev r$number
        ip link set r$number up
        ip -n $host addr add 192.0.2.$((number * 16 + 2))/28 dev eth0
        ip -n $host link set lo up
        ip -n $host link set eth0 up
        ip -n $host route add default via 192.0.2.$((number * 16 + 1))
        number=$((number + 1))
    done
    # A process of its own, whose end is the machine's.
    ip netns exec server perl traffic.pl serve 192.0.2.34 >/dev/null 2>&1 &
    until_true 20 client ask 192.0.2.34 1
}

installs_and_starts_nothing() {
    files >$STATE/before
    apt-get install -y --no-install-recommends ./ntc.deb
    [ "$(systemctl is-enabled ntc || true)" = disabled ]
    [ "$(systemctl is-active ntc || true)" = inactive ]
    getent passwd ntc && getent group ntc
    [ "$(stat -c '%a %U' /sys/fs/bpf/ntc)" = "750 ntc" ]
    ntc --version
    [ -f /usr/share/man/man1/ntc-run.1.gz ]
    [ -f /usr/share/bash-completion/completions/ntc ]
    # The minimal system has no `man` to look its pages up with.
    systemd-analyze verify --man=no ntc.service
}

without_interfaces_it_says_what_to_do() {
    ! ntc config check || fail "no interface is named yet"
    ntc config check | grep 'no interface to capture on'
    ! systemctl start ntc || fail "it started"
    systemctl stop ntc
    systemctl reset-failed ntc || true
}

starts_and_is_ready() {
    sed -i 's/^#iface = .*/iface = ["r1", "r2"]/' /etc/ntc/ntc.toml
    ntc config check
    systemctl start ntc
    systemctl is-active ntc
    ready
    systemctl status ntc --no-pager | grep 'Status: "residual-prior'
}

labels_live_traffic() {
    client ask 192.0.2.34 20
    until_true 20 labelled
}

enforces() {
    ntc qdisc apply --iface r2 --rate 95mbit
    local before after
    bytes() { tc -s class show dev r2 | grep -A1 'class htb 1:11 ' | grep -o 'Sent [0-9]*' | cut -d' ' -f2; }
    before=$(bytes)
    client ask 192.0.2.34 5
    ip netns exec client perl traffic.pl call 192.0.2.34 &
    local call=$!
    more() { after=$(bytes); [ "$after" -gt "$before" ]; }
    until_true 20 more
    kill $call
    ntc qdisc remove --iface r2
}

ordinary_users_ask_by_group() {
    useradd --create-home alice
    useradd --create-home bob
    usermod --append --groups ntc alice
    runuser -u alice -- curl -sS --max-time 20 --unix-socket $SOCKET http://localhost/v1/agent | grep '"ready":true'
    ! runuser -u bob -- curl -sS --max-time 20 --unix-socket $SOCKET http://localhost/v1/agent || fail "bob got in"
    # Looking is all that alice may do.
    [ "$(runuser -u alice -- curl -sS --max-time 20 -o /dev/null -w '%{http_code}' -X POST --unix-socket $SOCKET \
        http://localhost/v1/reload)" = 403 ]
}

runs_without_root_and_with_what_it_names() {
    local status; status=/proc/$(pid)/status
    [ "$(awk '/^Uid/ {print $3}' $status)" = "$(id -u ntc)" ]
    # CAP_NET_ADMIN (12), CAP_PERFMON (38), CAP_BPF (39); PERFMON is given up once programs are attached.
    [ "$(awk '/^CapBnd/ {print $2}' $status)" = 000000c000001000 ]
    [ "$(awk '/^CapEff/ {print $2}' $status)" = 0000008000001000 ]
    [ "$(awk '/^CapPrm/ {print $2}' $status)" = 0000008000001000 ]
    [ "$(awk '/^NoNewPrivs/ {print $2}' $status)" = 1 ]
    echo "measured: $(systemd-analyze security ntc --no-pager | tail -1)"
}

reload_takes_a_policy_over() {
    local before; before=$(pid)
    printf '[class.management]\nprotocols = ["DNS"]\ndscp = "AF41"\n' >/etc/ntc/policy.toml
    chmod 644 /etc/ntc/policy.toml
    sed -i 's|^#policy = .*|policy = "/etc/ntc/policy.toml"|' /etc/ntc/ntc.toml
    systemctl reload ntc
    shows() { ntc policy show | grep -q AF41; }
    until_true 20 shows
    [ "$(pid)" = "$before" ]
}

# A flow that goes on; what is learned of it stays in $STATE.
begins_a_call() {
    ip netns exec client perl traffic.pl call 192.0.2.34 >/dev/null 2>&1 &
    echo $! >$STATE/call
    port() { ip netns exec client ss -Hun state established | awk '{print $3}' | sed 's/.*://' | grep .; }
    until_true 20 port
    port >$STATE/port
    until_true 20 call
    call >$STATE/flow
}

restart_keeps_labels() {
    begins_a_call
    local before; before=$(pid)
    systemctl restart ntc
    another_is_ready "$before"
    until_true 20 call
    [ "$(call | cut -c1-24)" = "$(cut -c1-24 $STATE/flow)" ]
}

upgrade_keeps_labels() {
    local before; before=$(pid)
    apt-get install -y --no-install-recommends ./ntc-next.deb
    dpkg-query --show --showformat '${Version}' ntc | grep -F +next
    until_true 30 another_is_ready "$before"
    until_true 20 call
    [ "$(call | cut -c1-24)" = "$(cut -c1-24 $STATE/flow)" ]
    grep '^iface' /etc/ntc/ntc.toml
}

another_size_begins_anew() {
    local before; before=$(pid)
    echo 'max-flows = 4096' >>/etc/ntc/ntc.toml
    systemctl restart ntc
    another_is_ready "$before"
    until_true 20 call
}

killed_it_is_started_again() {
    local before; before=$(pid)
    kill -9 "$before"
    until_true 30 another_is_ready "$before"
    [ "$(systemctl show ntc --property NRestarts --value)" -ge 1 ]
    until_true 20 call
}

killed_for_good_labels_end_and_traffic_goes_on() {
    mkdir -p /run/systemd/system/ntc.service.d
    printf '[Service]\nRestart=no\n' >/run/systemd/system/ntc.service.d/trial.conf
    systemctl daemon-reload
    local before after
    before=$(acted_on)
    client ask 192.0.2.34 3
    sleep 1
    [ "$(acted_on)" != "$before" ]
    kill -9 "$(pid)"
    # Three seconds' heartbeat, and a margin.
    sleep 5
    before=$(acted_on)
    client ask 192.0.2.34 10
    sleep 1
    after=$(acted_on)
    [ "$before" = "$after" ]
    rm -r /run/systemd/system/ntc.service.d
    systemctl daemon-reload
    systemctl reset-failed ntc
    systemctl start ntc
    ready
}

stuck_it_is_started_again() {
    local before; before=$(pid)
    kill -STOP "$before"
    until_true 60 another_is_ready "$before"
}

without_a_capability() {
    local all=(CAP_BPF CAP_NET_ADMIN CAP_PERFMON) left=() capability
    for capability in "${all[@]}"; do [ "$capability" = "$1" ] || left+=("$capability"); done
    mkdir -p /run/systemd/system/ntc.service.d
    printf '[Service]\nRestart=no\nAmbientCapabilities=\nAmbientCapabilities=%s\nCapabilityBoundingSet=\nCapabilityBoundingSet=%s\n' \
        "${left[*]}" "${left[*]}" >/run/systemd/system/ntc.service.d/trial.conf
    systemctl daemon-reload
    systemctl stop ntc
    local since; since=$(date '+%F %T')
    local started=no
    systemctl start ntc && started=yes
    journalctl -u ntc --since "$since" --no-pager -o cat >$STATE/log
    rm -r /run/systemd/system/ntc.service.d
    systemctl daemon-reload
    systemctl reset-failed ntc || true
    [ $started = no ] || { systemctl restart ntc; fail "it starts without $1"; }
    grep "$2" $STATE/log && grep "this process lacks $1" $STATE/log || { cat $STATE/log; return 1; }
    systemctl start ntc
    ready
}
# What breaks: the table in docs/operating.md, "Privileges".
without_cap_bpf_it_does_not_start() { without_a_capability CAP_BPF "cannot load ntc's programs"; }
without_cap_net_admin_it_does_not_start() { without_a_capability CAP_NET_ADMIN "program ntc_xdp"; }
without_cap_perfmon_it_does_not_start() { without_a_capability CAP_PERFMON "program ntc_xdp"; }

stop_leaves_no_program_or_pin() {
    systemctl stop ntc
    ! ip -d link show r1 | grep xdp || fail "XDP is still there"
    ! tc filter show dev r1 ingress | grep ntc || fail "a filter is still there"
    [ -z "$(ls /sys/fs/bpf/ntc)" ]
    [ ! -e $SOCKET ]
    systemctl start ntc
}

remove_keeps_the_configuration() {
    kill "$(cat $STATE/call)"
    apt-get remove -y ntc
    [ ! -e /usr/bin/ntc ]
    [ -f /etc/ntc/ntc.toml ]
    ! ip -d link show r1 | grep xdp || fail "XDP is still there"
    ! pgrep -x ntc || fail "it still runs"
}

purge_leaves_nothing() {
    apt-get install -y --no-install-recommends ./ntc.deb
    systemctl start ntc
    apt-get purge -y ntc
    ! getent passwd ntc || fail "the user is still there"
    ! getent group ntc || fail "the group is still there"
    [ ! -e /sys/fs/bpf/ntc ]
    [ ! -e /run/ntc ]
    userdel --remove alice
    userdel --remove bob
    files >$STATE/after
    diff $STATE/before $STATE/after
}

network
for name in installs_and_starts_nothing without_interfaces_it_says_what_to_do starts_and_is_ready \
    labels_live_traffic enforces ordinary_users_ask_by_group runs_without_root_and_with_what_it_names \
    reload_takes_a_policy_over restart_keeps_labels upgrade_keeps_labels another_size_begins_anew \
    killed_it_is_started_again killed_for_good_labels_end_and_traffic_goes_on stuck_it_is_started_again \
    without_cap_bpf_it_does_not_start without_cap_net_admin_it_does_not_start without_cap_perfmon_it_does_not_start \
    stop_leaves_no_program_or_pin remove_keeps_the_configuration purge_leaves_nothing; do
    step $name
done
[ $failed = 0 ] && result=ok || result=FAILED
echo "test result: $result. $passed passed; $failed failed; 0 ignored; 0 measured; 0 filtered out"
[ $failed = 0 ]
