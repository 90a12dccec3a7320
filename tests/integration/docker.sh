#!/bin/sh
# docker.sh start [network] [FLAG...] | stop | kill | shim CONTAINER: Debian's dockerd on the containerd at CONTAINERD_ADDRESS,
# with all its folders in ./docker and its namespaces and cgroups named after CONTAINERD_NAMESPACE. It has no network to give and
# changes none, or with "network" all of its defaults, in a network namespace that stays until it ends without containers.
# Writes ./docker/pid and ./docker/log; the socket is ./docker/socket. "shim" prints the process id of a container's shim.
set -eu
folder="$PWD/docker"

# An ended process stays a zombie until the harness collects it.
running() { [ -e "/proc/$1" ] && ! grep -q '^State:.*Z' "/proc/$1/status" 2>/dev/null; }

ended() {
  for wait in $(seq 1 "$2"); do
    running "$1" || { rm -f "$folder/pid"; return 0; }
    sleep 0.1
  done
  echo "dockerd is still there after $(($2 / 10)) s" >&2
  return 1
}

# It leaves its mount of the host's network, and that of its root when it has been killed or could not start. The last of its
# threads may still be there.
clean() {
  umount "$folder/exec/netns/default" 2> /dev/null || true
  grep -q " $folder/root/" /proc/mounts && return  # containers go on
  umount "$folder/netns" 2> /dev/null || true
  for wait in $(seq 1 50); do
    grep -q " $folder/root " /proc/mounts || break
    umount "$folder/root" 2> /dev/null || sleep 0.1
  done
  if [ -e "$folder/made-run" ]; then rmdir /run/docker/plugins /run/docker 2> /dev/null || true; fi
}

case "$1" in
  start)
    shift
    mkdir -p "$folder"
    [ -e /run/docker ] || : > "$folder/made-run"  # where it looks for plugins, whatever its flags say
    within="" network="--bridge none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false"
    if [ "${1:-}" = network ]; then
      shift
      within="nsenter --net=$folder/netns" network=""
      grep -q " $folder/netns " /proc/mounts || { : > "$folder/netns"; unshare --net="$folder/netns" ip link set lo up; }
    fi
    echo "{\"deprecated-key-path\": \"$folder/key.json\"}" > "$folder/daemon.json"
    # shellcheck disable=SC2086  # one word each
    setsid $within dockerd --containerd "$CONTAINERD_ADDRESS" \
      --containerd-namespace "$CONTAINERD_NAMESPACE" --containerd-plugins-namespace "$CONTAINERD_NAMESPACE-plugins" \
      --cgroup-parent "/$CONTAINERD_NAMESPACE" --config-file "$folder/daemon.json" --data-root "$folder/root" \
      --exec-root "$folder/exec" --pidfile "$folder/pid" -H "unix://$folder/socket" \
      --storage-driver overlay2 $network \
      --shutdown-timeout 5 "$@" >> "$folder/log" 2>&1 < /dev/null &
    pid=$!
    for wait in $(seq 1 300); do
      running $pid || break
      docker -H "unix://$folder/socket" version > /dev/null 2>&1 && exit 0
      sleep 0.1
    done
    echo "dockerd does not answer:" >&2
    tail -n 20 "$folder/log" >&2
    clean
    exit 1
    ;;
  stop)
    pid="$(cat "$folder/pid")"
    kill "$pid"
    ended "$pid" 300
    clean
    ;;
  shim)
    init="$(docker inspect -f '{{.State.Pid}}' "$2")"
    shim="$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$init/status")"
    # It will be killed: nothing else may be taken for it.
    tr '\0' ' ' < "/proc/$shim/cmdline" | grep -q "shim.* -namespace $CONTAINERD_NAMESPACE " || exit 1
    echo "$shim"
    ;;
  kill)
    pid="$(cat "$folder/pid")"
    kill -9 "$pid"
    ended "$pid" 50
    ;;
esac
