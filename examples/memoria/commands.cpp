// What the program can do, and the help that says so.
#include "tool.hpp"

namespace tool {
namespace {

constexpr option resolve_option = {"--resolve", "HOW",
                                   "name (default): as Obsidian does, by path or name,\n"
                                   "letter case folded, aliases considered; path: exactly\n"
                                   "DIR/<target>.md, as the Python original does"};
constexpr option code_option = {"--include-code", nullptr, "links in code, comments and math count, too"};
constexpr option hidden_option = {"--hidden", nullptr, "also files and folders that begin with a dot"};
constexpr option dir_option = {"--dir", "DIR", "the memory; by default $MEMORIA_DIR, else here", "MEMORIA_DIR"};
constexpr option summarizer_option = {"--summarizer", "CMD", "what summarizes; by default $MEMORIA_SUMMARIZER",
                                      "MEMORIA_SUMMARIZER"};
constexpr option compiler_option = {"--compiler", "CMD", "what makes notes of logs; by default $MEMORIA_COMPILER",
                                    "MEMORIA_COMPILER"};

}  // namespace

// clang-format off
const std::vector<command> commands = {
    {"check", check, {"DIR"}, "find broken and unsafe links, and orphans",
     {{"--strict", nullptr, "orphans and ambiguous links are errors, too"},
      {"--anchors", nullptr, "check that headings and ^blocks exist"},
      {"--inbound", nullptr, "show the inbound count of every note"},
      {"--all", nullptr, "show every entry of every list, not the first 40"},
      resolve_option, code_option, hidden_option},
     R"(
Errors are broken links, links that leave DIR, notes that cannot be read; with
--anchors also headings and blocks that are not there. Warnings are orphans (no
other note links to them) and ambiguous links (several notes have the name).
Columns count bytes.

Examples
  memoria check notes --anchors           also [[note#heading]], [[note#^block]]
  memoria check notes --all | grep orphan
  memoria check notes --strict --json     for a program: warnings count, too
)", "something was found"},
    {"links", links, {"DIR", "NOTE"}, "show the links of a note, and to it",
     {resolve_option, code_option, hidden_option},
     R"(
NOTE is what a link would say (a name, a path, an alias), or the file's path.

Examples
  memoria links notes fsync
  memoria links notes "notes/locking/lock file.md" --json
)"},
    {"rename", rename, {"DIR", "FROM", "TO"}, "move a note and rewrite every link to it",
     {{"--dry-run", nullptr, "change nothing, only say what would change"},
      resolve_option, code_option, hidden_option},
     R"(
FROM and TO are paths from DIR; ".md" may be left out, a TO that ends in "/" is
a folder. Nothing is overwritten. Killed in the middle, it leaves no dead link,
and the same command again finishes.

Examples
  memoria rename notes fsync "sync to disk" --dry-run
  memoria rename notes inbox archive/
)"},
    {"graph", graph, {"DIR"}, "draw the notes, for Graphviz",
     {resolve_option, code_option, hidden_option},
     R"(
A note is a circle, the larger the more notes link to it; orphans are yellow,
broken and unsafe links dashed and red.

Example
  memoria graph notes | sfdp -Tsvg > notes.svg
)"},
    {"flush", flush, {"CONTEXT_FILE", "SESSION_ID"}, "summarize a conversation into today's log",
     {summarizer_option, dir_option, compiler_option,
      {"--pending", nullptr, "then also what earlier flushes left waiting"},
      {"--retry-wait", "SECONDS", "before the second attempt (2); before the\nthird twice as long"},
      {"--timeout", "SECONDS", "of each attempt (120)"}},
     R"(
CMD is a line for the shell. It reads a prompt and the conversation on standard
input and writes its summary, or FLUSH_OK for "nothing worth saving". That goes
to DIR/daily/YYYY-MM-DD.md, then CONTEXT_FILE is deleted. A session that was
flushed less than 60 seconds ago waits for the next flush.

Example
  memoria flush talk.md monday --summarizer "claude -p" --dir memory
)", "three attempts failed; the context stays"},
    {"hook", hook, {"EVENT"}, "what an agent's hooks call: flush, and return at once",
     {summarizer_option, dir_option, compiler_option},
     R"(
EVENT is session-end or pre-compact. Reads the hook's JSON on standard input and
starts `memoria flush` on its own; what that has to say goes to
DIR/.memoria/flush.log. Does nothing when it was itself started by a flush.

Example
  echo '{"session_id": "s1", "transcript_path": "talk.jsonl"}' |
    memoria hook session-end --dir memory --summarizer "claude -p"
)", "it could not run, for agents take 2 for \"stop\""},
    {"compile", compile, {"DIR"}, "turn the logs that have changed into notes",
     {compiler_option,
      {"--if-due", nullptr, "only if the last compile is\n$MEMORIA_COMPILE_INTERVAL_MIN minutes ago (60)"},
      {"--timeout", "SECONDS", "for each log (1800)"}},
     R"(
CMD is a line for the shell. For each log in DIR/daily that has changed it reads
a prompt, the notes and the log on standard input, and answers with notes:
  cost_usd: 0.01                 optional: what this log cost
  === concepts/fsync.md ===      the path of a note in DIR/knowledge,
  # fsync                        and its text up to the next such line

Example
  memoria compile memory --compiler "claude -p"
)", "a log was not compiled, a note was refused, or another compile is at work"},
    {"log", log, {"DIR", "TEXT"}, "append an entry to today's log", {},
     R"(
TEXT "-" is read from standard input. The entry is on disk, whole, when this
returns.

Examples
  memoria log memory "chose SQLite; reason: one file"
  git log -1 | memoria log memory -
)"},
    {"state", state, {"FILE", "ACTION", "[POINTER]", "[VALUE]"}, "read or change a JSON file that others write, too",
     {{"--string", nullptr, "VALUE is a text, not JSON; get writes a text bare"}},
     R"(
ACTION: get POINTER, set POINTER VALUE, delete POINTER, or dump. POINTER is a
JSON Pointer: /users/0/name, "" for everything, in an array /- behind the last.
VALUE is JSON, "-" is read from standard input. No other writer comes into a
change. A FILE that is not JSON is kept under another name, which is said.

Examples
  memoria state app.json set /users/ann '{"age": 7}'
  memoria state app.json get /users/ann/age
  memoria state memory/.memoria/state.json dump
)", "nothing there, or changed but FILE had not been JSON"},
    {"doctor", doctor, {"DIR"}, "look for what crashes left, and for what DIR cannot do",
     {{"--fix", nullptr, "remove stale temporary files"}},
     R"(
Temporary files of killed writers, backups piled up, conversations that wait, a
state that is not JSON; who holds which lock (Linux); whether the file system
locks and syncs, for which it writes and removes one small file.

Example
  memoria doctor memory --fix
)", "something was found"}};

}  // namespace tool
