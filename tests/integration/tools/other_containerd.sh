#!/bin/sh
# other_containerd.sh start [SOCKET]|stop: Debian's containerd beside the daemon of the run, on $DIR/other.sock, with folders of its own.
# With SOCKET it uses the snapshotter there, as "proxied". Without, it is the one that is used: its collector would remove what it finds
# no reason for, and reasons are in our records only, so it waits for longer than any test takes.
set -eu
case "$1" in
  start)
    cat >"$DIR/other.toml" <<EOF
version = 2
root = "$DIR/other-root"
state = "$DIR/other-state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "$DIR/other.sock"
EOF
    if [ -n "${2:-}" ]; then
      printf '[proxy_plugins.proxied]\ntype = "snapshot"\naddress = "%s"\n' "$2" >>"$DIR/other.toml"
    else
      printf '[plugins."io.containerd.gc.v1.scheduler"]\nstartup_delay = "100h"\nschedule_delay = "100h"\n' >>"$DIR/other.toml"
    fi
    /usr/bin/containerd --config "$DIR/other.toml" >>"$DIR/other.log" 2>&1 &
    echo $! >"$DIR/other.pid"
    for _ in $(seq 200); do
      if CONTAINERD_ADDRESS="$DIR/other.sock" ctr version >/dev/null 2>&1; then exit 0; fi
      sleep 0.1
    done
    tail -n 20 "$DIR/other.log" >&2
    exit 1
    ;;
  stop)
    pid=$(cat "$DIR/other.pid")
    kill "$pid"
    for _ in $(seq 200); do
      # A zombie has ended, too.
      if ! grep -q '^State:.*[^Z] (' "/proc/$pid/status" 2>/dev/null || grep -q '^State:.*Z (' "/proc/$pid/status"; then exit 0; fi
      sleep 0.1
    done
    echo "containerd does not end" >&2
    exit 1
    ;;
esac
