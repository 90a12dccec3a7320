# For scenarios about an installed berthd: `. /payload/guest/functions.sh`.
daemon() { systemctl show -p MainPID --value berthd; }
pid_of() { ctr tasks ls | awk -v name="$1" '$1 == name {print $2}'; }
ended() { for _ in $(seq 1 100); do ctr tasks ls | grep -q "^$1 .*STOPPED" && return; sleep 0.2; done; echo "$1 does not end"; }
# restarts N: waits until systemd has started it again for the Nth time by itself.
restarts() { for _ in $(seq 1 200); do [ "$(systemctl show -p NRestarts --value berthd)" = "$1" ] && systemctl is-active -q berthd && return; sleep 0.3; done; systemctl status berthd; return 1; }
# whole NAME: the container is the one that `pid` tells of, and can be worked with.
whole() { test "$(pid_of "$1")" = "$(cat pid)" && kill -0 "$(cat pid)" && ctr tasks exec --exec-id "e$(date +%N)" "$1" echo "$1 is whole"; }
