#!/bin/bash
# bad_names.sh METHOD TEXT [LENGTH]: calls METHOD by raw_call with TEXT once per bad name, put in the place of NAME, and prints
# what is wrong with the name and the code of the answer. Messages go to stderr. With LENGTH, no longer names than that.
set -u
long() { printf "%0$1d" 1; }
names=(
  "slash:berth-climb/x" "dots:.." "dot:." "climb:../../../../../../../../tmp/berth-climb" "absolute:/tmp/berth-climb"
  "NUL:berth\\000climb" "newline:berth\\nclimb" "space:berth climb" "empty:"
  "77 bytes:$(long 77)" "300 bytes:$(long 300)" "5000 bytes:$(long 5000)"
)
for entry in "${names[@]}"; do
  name=${entry#*:}
  [ ${#name} -le "${3:-100000}" ] || continue
  printf '%s: ' "${entry%%:*}"
  raw_call --quiet "$1" "${2//NAME/"$name"}"
done
exit 0
