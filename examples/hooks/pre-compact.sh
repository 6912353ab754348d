#!/bin/sh
# The agent's hook before it shortens its context: the same, so that what it forgets is remembered here.
. "$(dirname "$0")/settings.sh"
exec memoria hook pre-compact
