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
  std::string result;  // saved, nothing (worth saving), already (in a log), too_soon, busy, failed
  bool kept;           // the context file is still there
  std::string detail;
};

// The session's name as a file name: itself, where that is harmless.
std::string session_name(const std::string& id) {
  const char* const harmless = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
  return !id.empty() && id.size() <= 100 && id.find_first_not_of(harmless) == std::string::npos ? id : sha256(id);
}

bool is_logged(const memory& m, const std::string& marker) {
  for (const memoria::path& log : files_in(m.daily)) {
    if (memoria::read_text(log).find(marker) != std::string::npos) return true;
  }
  return false;
}

// Seconds since the session was flushed, if that is less than a minute ago; else nothing.
std::optional<std::int64_t> flushed_ago(const json& state, const std::string& session) {
  const std::int64_t ago = now().seconds - state["sessions"][session].value("flushed_at", std::int64_t{0});
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
  std::chrono::seconds pause = call.seconds("--retry-wait", 2);
  for (int attempt = 1;; ++attempt, pause *= 2) {
    answer a = ask(call.need("--summarizer"), instructions + utf8_text(context), call.seconds("--timeout", 120),
                   "waiting for the summarizer");
    if (a.problem.empty()) return a;
    a.problem = "attempt " + std::to_string(attempt) + " of 3: the summarizer " + a.problem;
    if (attempt == 3) return a;
    warn(a.problem + "; trying again in " + std::to_string(pause.count()) + " s");
    std::this_thread::sleep_for(pause);
  }
}

flushed flush_one(const invocation& call, const memory& m, const memoria::path& context, const std::string& session) {
  std::error_code ec;
  memoria::file_lock lock(context, at_once, ec);  // two flushes of one context would pay for two summaries
  if (ec == memoria::errc::lock_timeout) return {"busy", true, "another flush is at work on it"};
  const std::string text = ec ? "" : memoria::read_text(context, ec);
  if (ec == std::errc::no_such_file_or_directory && flushed_ago(load_state(m), session)) {
    return {"already", false, ""};  // another flush has just taken it along
  }
  if (ec) throw failure{"cannot read the context file " + utf8_name(context) + ": " + ec.message()};
  const std::string id = sha256(session + "\n" + text), marker = "<!-- memoria " + id + " -->\n\n";

  flushed done{"already", false, ""};
  std::string summary;
  // Looks whether there is something to do; once more before the entry is appended, when nobody else can append.
  const auto is_to_do = [&](const json& state) {
    if (is_logged(m, marker)) return false;
    if (const auto ago = flushed_ago(state, session)) {
      done = {"too_soon", true, "its session was flushed " + std::to_string(*ago) + " s ago"};
    }
    return !done.kept;
  };
  if (is_to_do(load_state(m))) {
    answer a = summarize(call, text);
    if (!a.problem.empty()) return {"failed", true, a.problem};
    summary = std::move(a.text);
  }
  if (done.kept) return done;
  update_state(m, [&](json& state) {
    if (!summary.empty() && is_to_do(state)) {
      const bool nothing = summary.compare(0, 8, "FLUSH_OK") == 0;
      const char* const title = nothing ? "Nothing worth saving" : "Session";
      done.detail = utf8_name(append_entry(m, title, nothing ? "FLUSH_OK" : summary, marker));
      done.result = nothing ? "nothing" : "saved";
    }
    if (!done.kept) remember(state, session, id);
    return !done.kept;
  });
  lock.unlock();  // Windows deletes no file that is open
  if (!done.kept) std::filesystem::remove(context);
  return done;
}

}  // namespace

int flush(const invocation& call) {
  set_environment("MEMORIA_INVOKED_BY", "flush");  // hooks of an agent that the summarizer starts do nothing
  call.need("--summarizer");
  const memory m(call.get("--dir"));
  json list = json::array();
  bool failed = false;
  const auto flush_and_say = [&](const memoria::path& context, const std::string& session) {
    const flushed done = flush_one(call, m, context, session);
    const std::string name = utf8_name(context);
    list.push_back(json::object({{"context", json_text(name)},
                                 {"result", done.result},
                                 {"kept", done.kept},
                                 {"detail", json_text(done.detail)}}));
    failed = failed || done.result == "failed";
    if (done.kept) {
      warn(printable(name) + " was not flushed and stays: " + printable(done.detail));
    } else if (!call.has("--json")) {
      cout << printable(name)
           << (done.result == "saved"     ? ": saved in "
               : done.result == "nothing" ? ": nothing worth saving, noted in "
                                          : ": was in a log already")
           << printable(done.detail) << "\n";
    }
  };
  const memoria::path own = native_path(call.arguments[0]);
  flush_and_say(own, session_name(call.arguments[1]));
  if (call.has("--pending") && !failed) {  // what failed, or came too soon, before
    for (const memoria::path& context : files_in(m.contexts)) {
      const std::string name = utf8_name(context.filename());
      std::error_code ec;
      if (!equivalent(context, own, ec)) flush_and_say(context, name.substr(0, name.find('.')));
    }
  }
  compile_if_due(call, m);
  call.report(json::object({{"contexts", list}}), [] {});
  return failed ? exit_findings : exit_clean;
}

// ---- hook -----------------------------------------------------------------------------------------------------------

namespace {

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
  return is_blank(said) ? "" : (role == "user" ? "**User:** " : "**Assistant:** ") + utf8_text(said) + "\n\n";
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

}  // namespace

int hook(const invocation& call) {
  const std::string& event = call.arguments[0];
  if (event != "session-end" && event != "pre-compact") call.misused("no such event: " + event);
  if (!environment("MEMORIA_INVOKED_BY").empty()) return exit_clean;
  memoria::json_problem problem;
  const json input = json::parse(read_all(stdin), {memoria::json_dialect::python}, problem);
  if (problem) throw failure{"the hook's standard input is not JSON: " + problem.message()};
  const auto id = input["session_id"].get_if<std::string>(),
             transcript = input["transcript_path"].get_if<std::string>();
  if (!id || !transcript) throw failure{"the hook's standard input has no session_id or no transcript_path"};

  const memory m(call.get("--dir"));
  const std::string text = last_turns(memoria::read_text(native_path(*transcript))), session = session_name(*id);
  json written;
  if (!text.empty()) {
    memoria::path context;
    for (int i = 0; context.empty() || !write_new(context, text); ++i) {
      context = m.contexts / (session + "." + std::to_string(now().seconds) + "-" + std::to_string(i) + ".md");
    }
    written = json_text(utf8_name(context));
    std::vector<std::string> words = {call.program, "flush"};
    words.insert(words.end(), {"--pending", "--dir", utf8_name(m.directory), "--summarizer", call.need("--summarizer"),
                               "--compiler", call.get("--compiler"), "--", utf8_name(context), session});
    start_detached(words, m.own / "flush.log");
  }
  call.report(json::object({{"event", event}, {"context", written}}), [&] {
    cout << (text.empty() ? "nothing was said, nothing to save"
                          : "saving the conversation: " + printable(written.get<std::string>()))
         << "\n";
  });
  return exit_clean;
}

}  // namespace tool
