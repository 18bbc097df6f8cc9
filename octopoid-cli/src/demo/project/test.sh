#!/bin/sh
# The greeting must name the person.
set -e
answer=$(sh ./greet.sh Ada)
if [ "$answer" != "Hello, Ada!" ]; then
  echo "expected 'Hello, Ada!', got '$answer'"
  exit 1
fi
if [ -f test-world.sh ]; then
  sh ./test-world.sh
fi
echo "ok"
