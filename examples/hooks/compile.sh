#!/bin/sh
# In place of a language model: each "- TOPIC: TEXT" of the log becomes a note, and the day becomes a note that links to
# them.
exec awk '
  /^--- the log .* ---$/ { day = $4; sub(/\.md$/, "", day); next }
  day != "" && /^- [A-Za-z0-9 -]+: / {
    topic = substr($0, 3, index($0, ":") - 3)
    if (!(topic in text)) order[++topics] = topic
    text[topic] = text[topic] "\n- " substr($0, index($0, ":") + 2)
  }
  END {
    print "cost_usd: 0"
    for (i = 1; i <= topics; ++i) {
      printf "=== concepts/%s.md ===\n# %s\n%s\n\nFrom [[days/%s]].\n", order[i], order[i], text[order[i]], day
      links = links "\n- [[concepts/" order[i] "]]"
    }
    printf "=== days/%s.md ===\n# %s\n%s\n", day, day, links
  }'
