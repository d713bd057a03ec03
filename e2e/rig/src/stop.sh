#!/bin/sh
# Ends what the rig left running, and removes this directory.
directory=$(cd "$(dirname "$0")" && pwd)
for file in "$directory"/kept/*; do
    group=$(basename "$file")
    # Only if the pid still runs what it ran then: pids are used again.
    if [ "$(ps -o args= -p "$group")" = "$(cat "$file")" ]; then
        kill -s KILL -- "-$group"
    fi
done
sleep 0.2
rm -rf -- "$directory"
