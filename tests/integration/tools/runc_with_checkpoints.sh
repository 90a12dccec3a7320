#!/bin/sh
# runc on a machine where CRIU does not start: a checkpoint is a file with the container's id, and a restore runs the
# container anew if that file has come back. Everything else is runc. What it shows is the way of the files.
command=""; image=""; leave_running=""; id=""; previous=""
for word; do
  case "$word" in
    checkpoint | restore) [ -n "$command" ] || command="$word" ;;
    --leave-running) leave_running=yes ;;
  esac
  [ "$previous" != --image-path ] || image="$word"
  previous="$word"
  id="$word"  # the last one
done
case "$command" in
  checkpoint)
    mkdir -p "$image" && echo "memory of $id" >"$image/pages-1.img" || exit 1
    [ -n "$leave_running" ] || exec runc "$(echo "$*" | sed -n 's/.*--root \([^ ]*\).*/--root=\1/p')" kill "$id" KILL
    ;;
  restore)
    grep -q '^memory of ' "$image/pages-1.img" || { echo "restore $id: no checkpoint in $image" >&2; exit 1; }
    # The same words for `run`, without those that it does not know.
    skip=""
    for word; do
      shift
      if [ -n "$skip" ]; then skip=""; continue; fi
      case "$word" in
        restore) set -- "$@" run ;;
        --image-path | --work-path | --manage-cgroups-mode | --parent-path) skip=yes ;;
        --no-subreaper | --detach | --pid-file | --bundle | --console-socket | -*) set -- "$@" "$word" ;;
        *) set -- "$@" "$word" ;;
      esac
    done
    exec runc "$@"
    ;;
  *) exec runc "$@" ;;
esac
