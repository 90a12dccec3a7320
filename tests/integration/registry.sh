#!/bin/sh
# registry.sh start|stop: Debian's docker-registry on a free port of the loopback, with its data in the current folder.
# Writes registry.address and registry.pid.
set -eu
case "$1" in
  start)
    for attempt in 1 2 3 4 5 6 7 8; do
      port=$((20000 + ($$ * 7 + attempt * 997) % 12000))
      cat > registry.yml <<CONFIG
version: 0.1
log: {level: warn}
storage: {filesystem: {rootdirectory: $PWD/registry}}
http: {addr: "127.0.0.1:$port"}
CONFIG
      setsid docker-registry serve registry.yml > registry.log 2>&1 < /dev/null &
      pid=$!
      for wait in $(seq 1 50); do
        kill -0 $pid 2>/dev/null || break
        if grep -q ":$(printf %04X "$port") " /proc/net/tcp; then
          echo $pid > registry.pid
          echo "127.0.0.1:$port" > registry.address
          exit 0
        fi
        sleep 0.1
      done
      kill $pid 2>/dev/null || true
    done
    cat registry.log >&2
    exit 1
    ;;
  stop)
    kill "$(cat registry.pid)"
    for wait in $(seq 1 50); do
      kill -0 "$(cat registry.pid)" 2>/dev/null || exit 0
      sleep 0.1
    done
    ;;
esac
