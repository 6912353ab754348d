#!/bin/sh
# The agent's hook for the end of a session: standard input is JSON with session_id and transcript_path. Returns at
# once.
. "$(dirname "$0")/settings.sh"
exec memoria hook session-end
