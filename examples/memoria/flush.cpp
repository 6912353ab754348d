// memoria flush and memoria hook: a conversation becomes an entry of today's log.
//
// No crash loses a conversation or writes it twice. The context file is deleted last. Before that comes the state,
// before that the entry, which ends in a marker: the SHA-256 of session and context. A flush that finds the marker in a
// log knows that a crashed one got that far. The marker is the last line, so that an entry torn by a power cut does not
// count.
#include <thread>

#include "memory.hpp"

namespace tool {
namespace {

constexpr std::int64_t session_pause = 60, sessions_kept_for = 24 * 60 * 60;

// What became of one context.
struct flushed {
  const char* result;  // saved, nothing (worth saving), already (in a log), too_soon, busy, failed
  bool kept;           // the context file is still there
  std::string detail;
};

// The session's name as a file name: itself, where that is harmless.
std::string session_name(const std::string& id) {
  const char* const harmless = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
  return !id.empty() && id.size() <= 100 && id.find_first_not_of(harmless) == std::string::npos ? id : sha256(id);
}

// Whether a log has the marker. Logs older than the context need not be read; two days allow for every time zone.
bool is_logged(const memory& m, const std::string& marker, const memoria::path& context) {
  std::error_code ec;
  const auto written = last_write_time(context, ec);
  std::string oldest;
  if (!ec) {
    const auto age = std::chrono::duration_cast<std::chrono::seconds>(decltype(written)::clock::now() - written);
    const std::int64_t seconds = age.count() > 0 ? age.count() : 0;  // negative: a clock was set back
    oldest = moment_at(now().seconds - seconds - 2 * 24 * 60 * 60).date;
  }
  for (const memoria::path& log : files_in(m.daily, ".md")) {
    if (utf8_name(log.stem()) >= oldest && memoria::read_text(log).find(marker) != std::string::npos) return true;
  }
  return false;
}

// Seconds since the session was flushed, if that is less than a minute ago; else nothing.
std::optional<std::int64_t> flushed_ago(const json& state, const std::string& session) {
  const json& known = state["sessions"][session];
  const std::int64_t ago = now().seconds - known.value("flushed_at", std::int64_t{0});
  return ago >= 0 && ago < session_pause ? std::optional(ago) : std::nullopt;
}

void remember(json& state, const std::string& session, const std::string& id) {
  const std::int64_t seconds = now().seconds;
  json& sessions = state["sessions"];
  for (auto at = sessions.begin(); at != sessions.end();) {
    at = at->value("flushed_at", std::int64_t{0}) < seconds - sessions_kept_for ? sessions.erase(at) : at + 1;
  }
  sessions[session] = json::object({{"flushed_at", seconds}, {"entry", id}});
}

constexpr const char* instructions = R"(Below is a conversation between a user and an agent. Write down, in Markdown
and in the past tense, what is worth remembering for later conversations:
decisions and their reasons, lessons learned, facts about the project, open
questions. No headings above level 4. Leave out pleasantries and what the code
says itself. If nothing is worth saving, answer with the one word FLUSH_OK.

---

)";

// Asks up to three times.
answer summarize(const invocation& call, const std::string& context) {
  const std::string command_line = setting(call, "--summarizer");
  const std::chrono::seconds limit(call.number("--timeout", 120));
  std::chrono::seconds pause(call.number("--retry-wait", 2));
  for (int attempt = 1;; ++attempt, pause *= 2) {
    answer a = ask(command_line, instructions + utf8_text(context), limit, "waiting for the summarizer");
    if (a.usable) return a;
    a.problem = "attempt " + std::to_string(attempt) + " of 3: the summarizer " + a.problem;
    if (attempt == 3) return a;
    warn(a.problem + "; trying again in " + std::to_string(pause.count()) + " s");
    std::this_thread::sleep_for(pause);
  }
}

flushed flush_one(const invocation& call, const memory& m, const memoria::path& context, const std::string& session) {
  std::error_code ec;
  memoria::file_lock lock(context, at_once(false), ec);  // two flushes of one context would pay for two summaries
  if (ec == memoria::errc::lock_timeout) return {"busy", true, "another flush is at work on it"};
  const std::string text = ec ? "" : memoria::read_text(context, ec);
  if (ec == std::errc::no_such_file_or_directory && flushed_ago(load_state(m), session)) {
    return {"already", false, ""};  // another flush has just taken it along
  }
  if (ec) throw failure{"cannot read the context file " + utf8_name(context) + ": " + ec.message()};
  const std::string id = sha256(session + "\n" + text), marker = "<!-- memoria " + id + " -->\n\n";

  const auto too_soon = [](std::int64_t ago) {
    return flushed{"too_soon", true, "its session was flushed " + std::to_string(ago) + " s ago"};
  };
  bool logged = is_logged(m, marker, context);
  std::string summary;
  if (!logged) {
    if (const auto ago = flushed_ago(load_state(m), session)) return too_soon(*ago);
    answer a = summarize(call, text);
    if (!a.usable) return {"failed", true, a.problem};
    summary = std::move(a.text);
  }
  const bool nothing = summary.compare(0, 8, "FLUSH_OK") == 0;
  std::optional<std::int64_t> ago;
  memoria::path log;
  update_state(m, [&](json& state) {  // nobody else appends an entry while this holds the state
    logged = logged || is_logged(m, marker, context);
    if (!logged) ago = flushed_ago(state, session);
    if (ago) return false;
    if (!logged) {
      const char* const title = nothing ? "Nothing worth saving" : "Session";
      log = append_entry(m, now(), title, nothing ? "FLUSH_OK" : summary, marker);
    }
    remember(state, session, id);
    return true;
  });
  if (ago) return too_soon(*ago);
  lock.unlock();  // Windows deletes no file that is open
  std::filesystem::remove(context);
  return {logged ? "already" : nothing ? "nothing" : "saved", false, utf8_name(log)};
}

int flush(const invocation& call, output& out) {
  set_environment("MEMORIA_INVOKED_BY", "flush");  // hooks of an agent that the summarizer starts do nothing
  setting(call, "--summarizer");
  const memory m(call);
  json list = json::array();
  bool failed = false;
  const auto flush_and_say = [&](const memoria::path& context, const std::string& session) {
    const flushed done = flush_one(call, m, context, session);
    const std::string name = utf8_name(context), result = done.result;
    list.push_back(json::object(
        {{"context", json_text(name)}, {"result", result}, {"kept", done.kept}, {"detail", json_text(done.detail)}}));
    failed = failed || result == "failed";
    if (done.kept) {
      warn(printable(name) + " was not flushed and stays: " + printable(done.detail));
    } else if (!call.has("--json")) {
      out << printable(name)
          << (result == "saved"     ? ": saved in "
              : result == "nothing" ? ": nothing worth saving, noted in "
                                    : ": was in a log already")
          << printable(done.detail) << "\n";
    }
  };
  const memoria::path own = native_path(call.arguments[0]);
  flush_and_say(own, session_name(call.arguments[1]));
  if (call.has("--pending") && !failed) {  // what failed, or came too soon, before
    for (const memoria::path& context : files_in(m.contexts, ".md")) {
      const std::string name = utf8_name(context.filename());
      std::error_code ec;
      if (!equivalent(context, own, ec)) flush_and_say(context, name.substr(0, name.find('.')));
    }
  }
  const std::string compiler = setting(call, "--compiler", false);
  if (!compiler.empty()) compile_if_due(m, compiler);
  if (call.has("--json")) out.write_json(json::object({{"format", "memoria flush 1"}, {"contexts", list}}));
  return failed ? exit_findings : exit_clean;
}

// ---- hook -----------------------------------------------------------------------------------------------------------

constexpr std::size_t turns_kept = 30, bytes_kept = 15000;

// What was said in one line of a transcript; empty: nothing.
std::string turn(std::string_view line) {
  std::error_code ec;
  const json entry = json::parse(line, {memoria::json_dialect::python}, ec);
  const json& message = entry["message"].is_object() ? entry["message"] : entry;
  const auto role = message["role"].get_if<std::string>();
  if (role != "user" && role != "assistant") return "";
  std::string said = message["content"].get_if<std::string>().value_or("");
  if (message["content"].is_array()) {
    for (const json& block : message["content"]) {
      if (block["type"] == json("text")) said += block["text"].get_if<std::string>().value_or("") + "\n";
    }
  }
  if (said.find_first_not_of(" \t\r\n") == std::string::npos) return "";
  return (role == "user" ? "**User:** " : "**Assistant:** ") + utf8_text(said) + "\n\n";
}

// The last turns of a conversation. Only the end of the transcript is looked at, which may be long.
std::string last_turns(std::string_view transcript) {
  std::string turns;
  for (std::size_t count = 0; count < turns_kept && !transcript.empty();) {
    const std::size_t start = transcript.find_last_of('\n') + 1;  // npos + 1 is 0
    const std::string one = turn(transcript.substr(start));
    transcript = transcript.substr(0, start > 0 ? start - 1 : 0);
    if (one.size() + turns.size() > bytes_kept && !turns.empty()) break;
    turns.insert(0, one);
    if (!one.empty()) ++count;
  }
  return turns;
}

memoria::path write_context(const memory& m, const std::string& session, const std::string& text) {
  for (int i = 0;; ++i) {
    const memoria::path file =
        m.contexts / (session + "." + std::to_string(now().seconds) + "-" + std::to_string(i) + ".md");
    std::error_code ec;
    write_new(file, text, ec);
    if (!ec) return file;
    if (ec != std::errc::file_exists) throw std::system_error(ec, "cannot write " + utf8_name(file));
  }
}

int hook(const invocation& call, output& out) {
  const std::string& event = call.arguments[0];
  if (event != "session-end" && event != "pre-compact") misused(*call.what, "no such event: " + event);
  if (!environment("MEMORIA_INVOKED_BY").empty()) return exit_clean;
  memoria::json_problem problem;
  const json input = json::parse(standard_input(), {memoria::json_dialect::python}, problem);
  const auto id = input["session_id"].get_if<std::string>(),
             transcript = input["transcript_path"].get_if<std::string>();
  if (problem) throw failure{"the hook's standard input is not JSON: " + problem.message()};
  if (!id || !transcript) throw failure{"the hook's standard input has no session_id or no transcript_path"};

  const memory m(call);
  const std::string text = last_turns(memoria::read_text(native_path(*transcript)));
  std::string context;
  if (!text.empty()) {
    context = utf8_name(write_context(m, session_name(*id), text));
    std::vector<std::string> words = {
        "flush", "--pending", "--dir", utf8_name(m.directory), "--summarizer", setting(call, "--summarizer")};
    if (const std::string compiler = setting(call, "--compiler", false); !compiler.empty()) {
      words.insert(words.end(), {"--compiler", compiler});
    }
    words.insert(words.end(), {"--", context, session_name(*id)});
    start_detached(words, m.own / "flush.log");
  }
  if (call.has("--json")) {
    out.write_json(json::object(
        {{"format", "memoria hook 1"}, {"event", event}, {"context", context.empty() ? json() : json_text(context)}}));
  } else {
    out << (context.empty() ? "nothing was said, nothing to save" : "saving the conversation: " + printable(context))
        << "\n";
  }
  return exit_clean;
}

constexpr option summarizer_option = {
    "--summarizer", "CMD", "the command that summarizes; by default\n$MEMORIA_SUMMARIZER", "MEMORIA_SUMMARIZER"};

}  // namespace

// clang-format off
const command flush_command = {
    "flush", {"CONTEXT_FILE", "SESSION_ID"}, "summarize a conversation into today's log",
    {summarizer_option, dir_option, compiler_option,
     {"--pending", nullptr, "then also what earlier flushes left waiting"},
     {"--retry-wait", "SECONDS", "before the second attempt (2); before the\nthird twice as long"},
     {"--timeout", "SECONDS", "of each attempt (120)"},
     json_option},
    R"(
CMD is a command line for the shell, and nothing is added to it: it reads a
prompt and the conversation on standard input and writes its summary, or
FLUSH_OK for "nothing worth saving", to standard output. It is asked up to three
times. Then the summary is appended to DIR/daily/YYYY-MM-DD.md and CONTEXT_FILE
is deleted. If a session was flushed less than 60 seconds ago, its context stays
for the next flush. A flush killed at any moment and started again neither loses
nor repeats an entry. With --compiler, `memoria compile` is started on its own
when a log has changed and the last one is $MEMORIA_COMPILE_INTERVAL_MIN minutes
ago (60).

Examples
  memoria flush talk.md monday --summarizer "claude -p" --dir memory
  memoria flush talk.md monday --summarizer ./summarize.sh --retry-wait 0

Exit status: 0 done (the context is in a log; or stays, because it came too soon
or another flush has it); 1 all attempts failed, the context stays; 2 it could
not run, the context stays.
)",
    flush};

const command hook_command = {
    "hook", {"EVENT"}, "what an agent's hooks call: flush, and return at once",
    {summarizer_option, dir_option, compiler_option, json_option},
    R"(
EVENT is session-end or pre-compact. Reads the hook's JSON on standard input
(session_id, transcript_path), writes the last 30 turns to
DIR/.memoria/contexts/ and starts `memoria flush` on its own, which outlives the
agent; its messages go to DIR/.memoria/flush.log. Does nothing when the agent
was itself started by a flush or a compile ($MEMORIA_INVOKED_BY is set).

Example
  echo '{"session_id": "s1", "transcript_path": "talk.jsonl"}' |
    memoria hook session-end --dir memory --summarizer "claude -p"

Exit status: 0 done, or nothing to do; 1 it could not run. Never 2, which an
agent takes for "stop".
)",
    hook};

}  // namespace tool
