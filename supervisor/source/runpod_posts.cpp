// A lane is open from the moment its job is known until the platform has the result. It stands in `line_` when it has
// something to post, posts one thing, and stands in line again while there is more. Between two tries of the same post it
// pauses. What the HTTP client or the journal says about a lane that is not there any more is not heard.
//
// A result is tried until there is an answer that means something: taken (any 2xx), or refused for good (400, 404, 413
// and their like). A refused one is kept for the operator, and an error that says why is posted in its place; if that is
// refused as well, the job is given up.
//
// Whoever is told that a chunk is taken or a job is settled may call back in: nothing of a lane is touched after that.

#include "supervisor/source/runpod_posts.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "supervisor/job/json_text.hpp"

namespace bulkhead {
namespace {

constexpr int kAtOnce = 256;  // each has one connection: a stream's chunks wait for one another, not for other jobs'
constexpr milliseconds kResultTimeout{120'000};
constexpr milliseconds kChunkTimeout{60'000};
/// The result waits for a progress update that is under way; that nobody answers, for no longer.
constexpr milliseconds kProgressTimeout{10'000};
constexpr int kProgressTries = 3;
constexpr int kReadTries = 10;
constexpr std::size_t kHeldMax = std::size_t{64} << 20;
constexpr std::size_t kReadAtOnce = 1 << 20;
constexpr std::size_t kAnswerMax = 64 << 10;
constexpr std::size_t kQuotedMax = 300;  // of the platform's words, in an error

bool taken_by(const HttpResult& result) { return result.status >= 200 && result.status < 300; }

/// What no further try will change.
bool for_good(const HttpResult& result) {
  if (result.hopeless) return true;
  switch (result.status) {
    case 401:
    case 403:
    case 408:
    case 425:
    case 429: return false;
    default: return result.status >= 400 && result.status < 500;
  }
}

Payload text(std::string_view literal) { return {nullptr, literal}; }

Payload json_string(std::string_view value) {
  std::string out;
  append_json_string(out, value);
  return Payload::of(std::move(out));
}

/// An answer may repeat what it was asked with.
std::string hidden(std::string text, const std::string& secret) {
  if (secret.empty()) return text;
  for (std::size_t at = text.find(secret); at != std::string::npos; at = text.find(secret, at + 3))
    text.replace(at, secret.size(), "***");
  return text;
}

std::size_t size_of(const std::vector<Payload>& body) {
  std::size_t size = 0;
  for (const Payload& part : body) size += part.size();
  return size;
}

}  // namespace

struct RunPodPosts::Chunk {
  std::uint32_t number;
  Payload value;
  std::function<void()> taken;
};

struct RunPodPosts::Lane : Deadlined {
  Number number = 0;
  std::string id;
  std::deque<Chunk> chunks;
  Payload progress;
  bool stored = false;           ///< the journal may have chunks of a former life behind `posted`
  std::uint32_t chunk_sent = 0;  ///< the last one
  bool chunk_refused = false;    ///< and that was told
  bool muted = false;

  bool ended = false;
  std::optional<Outcome> outcome;  ///< held, or to be read from the journal
  bool journalled = true;
  std::size_t held = 0;
  int unread = 0;       ///< times the journal did not give it
  std::string refusal;  ///< why the platform did not take the result
  std::function<void()> settled;

  enum class Stage : std::uint8_t { Idle, InLine, Reading, Posting, Pausing } stage = Stage::Idle;
  Post what = Post::None;
  int tries = 0;                 ///< of what is posted now
  bool progress_posted = false;  ///< and no newer value came meanwhile
  HttpClient::Number call = 0;

  bool has_more() const { return !chunks.empty() || stored || !progress.empty() || ended; }
};

RunPodPosts::RunPodPosts(boost::asio::any_io_executor executor, HttpClient& http, const RunPodUrls& urls,
                         Journal& journal, RunPodChannel channel, Options options)
    : http_(http),
      urls_(urls),
      journal_(journal),
      channel_(std::move(channel)),
      options_(std::move(options)),
      timer_(executor) {}

RunPodPosts::~RunPodPosts() {
  for (auto& [number, lane] : lanes_)
    if (lane->stage == Lane::Stage::Posting) http_.cancel(lane->call);
}

RunPodPosts::Lane* RunPodPosts::find(std::string_view job_id) {
  auto found = by_job_.find(job_id);
  return found == by_job_.end() ? nullptr : found->second;
}

// ---- jobs come, go on, and end -------------------------------------------------------------------------------------

void RunPodPosts::open(const std::string& job_id, const Recovered* known) {
  auto lane = std::make_unique<Lane>();
  lane->number = ++last_;
  lane->id = job_id;
  if (known) {
    streams_ = streams_ || known->last_chunk > 0;
    lane->chunk_sent = known->polled;
    // Of a job that is to run again the stream begins anew.
    lane->stored = known->outcome && known->last_chunk > known->polled && urls_.has_chunks();
  }
  by_job_.emplace(lane->id, lane.get());
  lanes_.emplace(last_, std::move(lane));
}

void RunPodPosts::chunk(const std::string& job_id, std::uint32_t number, Payload value, std::function<void()> taken) {
  Lane* lane = find(job_id);
  if (!lane || lane->muted || lane->ended || number <= lane->chunk_sent) return taken();
  streams_ = true;
  if (!urls_.has_chunks()) return taken();
  lane->chunks.push_back({number, std::move(value), std::move(taken)});
  ask(*lane);
}

void RunPodPosts::progress(const std::string& job_id, Payload value) {
  Lane* lane = find(job_id);
  if (!lane || lane->muted || lane->ended) return;
  lane->progress = std::move(value);
  lane->progress_posted = false;
  ask(*lane);
}

/// Nothing of the lane is sent any more. Gives the chunks that waited, whose senders are yet to be told.
std::deque<RunPodPosts::Chunk> RunPodPosts::silence(Lane& lane) {
  if (lane.stage == Lane::Stage::Posting) {
    http_.cancel(lane.call);
    lane.stage = Lane::Stage::Idle;
    --under_way_;
  }
  lane.progress = {};
  lane.stored = false;
  return std::exchange(lane.chunks, {});
}

void RunPodPosts::mute(std::string_view job_id) {
  Lane* lane = find(job_id);
  if (!lane) return;
  lane->muted = true;
  auto chunks = silence(*lane);
  if (lane->ended) close(*lane);
  for (Chunk& chunk : chunks)
    if (chunk.taken) chunk.taken();
  pump();
}

void RunPodPosts::finish(const std::string& job_id, const Outcome& outcome, std::function<void()> settled) {
  Lane* lane = find(job_id);
  if (!lane) return settled();
  lane->ended = true;
  lane->progress = {};
  lane->settled = std::move(settled);
  ++unsent_;
  if (lane->muted || outcome.status == Status::Cancelled) return mute(job_id);
  std::size_t bytes = outcome.output.size() + outcome.error.size();
  if (held_bytes_ + bytes <= kHeldMax) {
    lane->outcome = outcome;
    lane->held = bytes;
    held_bytes_ += bytes;
  }
  ask(*lane);
}

void RunPodPosts::answer(const std::string& job_id, Outcome outcome) {
  Lane* lane = find(job_id);
  if (!lane || lane->ended) return;
  lane->ended = true;
  lane->journalled = false;
  lane->outcome = std::move(outcome);
  lane->settled = [] {};
  ++unsent_;
  if (lane->muted) return mute(job_id);  // the platform has stopped it meanwhile
  ask(*lane);
}

void RunPodPosts::leave(std::string_view job_id) {
  if (Lane* lane = find(job_id)) close(*lane);
}

std::vector<std::string_view> RunPodPosts::jobs() const {
  std::vector<std::string_view> ids;
  ids.reserve(lanes_.size());
  // A ping has room for some 150: first those that have not ended, which nothing else tells the platform of.
  for (bool ended : {false, true})
    for (const auto& [number, lane] : lanes_)
      if (lane->ended == ended) ids.push_back(lane->id);
  return ids;
}

/// The lane is over, in whatever way; it is neither read nor posted.
void RunPodPosts::close(Lane& lane) {
  pausing_.clear(lane);
  held_bytes_ -= lane.held;
  if (lane.stage == Lane::Stage::InLine) std::erase(line_, lane.number);
  if (lane.stage == Lane::Stage::Reading) --under_way_;
  if (lane.ended) --unsent_;
  by_job_.erase(lane.id);
  auto found = lanes_.find(lane.number);
  auto kept = std::move(found->second);
  lanes_.erase(found);
  if (kept->settled) kept->settled();
  if (lanes_.empty() && sent_) std::exchange(sent_, nullptr)();
}

void RunPodPosts::flush(std::function<void()> sent) {
  if (lanes_.empty()) return sent();
  sent_ = std::move(sent);
  // The last tries: what pauses does not wait for its time.
  closed_until_.reset();
  while (Lane* lane = pausing_.pop_due(std::chrono::steady_clock::time_point::max())) {
    lane->stage = Lane::Stage::InLine;
    line_.push_back(lane->number);
  }
  pump();
}

// ---- one post ------------------------------------------------------------------------------------------------------

/// The lane has something to post.
void RunPodPosts::ask(Lane& lane) {
  if (lane.stage != Lane::Stage::Idle) return;
  lane.stage = Lane::Stage::InLine;
  line_.push_back(lane.number);
  pump();
}

/// Not nested: a journal may answer at once, and leads back here.
void RunPodPosts::pump() {
  if (std::exchange(pumping_, true)) return;
  while (!line_.empty() && !closed_until_ && under_way_ < (channel_.failing() ? 1 : kAtOnce)) {
    Lane& lane = *lanes_.at(line_.front());
    bool reads = lane.ended && !lane.outcome && lane.refusal.empty();
    if (reads && held_bytes_ >= kHeldMax && under_way_ > 0) break;  // one more, when one less is held
    line_.pop_front();
    lane.stage = Lane::Stage::Idle;
    begin(lane);
  }
  pumping_ = false;
}

void RunPodPosts::begin(Lane& lane) {
  if (!lane.chunks.empty())
    return post(lane, Post::Chunk, urls_.chunk(lane.id), {text("{\"output\":"), lane.chunks.front().value, text("}")});
  if (lane.stored) return read_chunks(lane);
  if (lane.ended) {
    if (!lane.outcome && lane.refusal.empty()) return read_outcome(lane);
    return post(lane, Post::Result, urls_.result(lane.id, streams_), body_of(lane));
  }
  if (lane.progress.empty()) return;
  lane.progress_posted = true;
  post(lane, Post::Progress, urls_.result(lane.id, false),
       {text("{\"status\":\"IN_PROGRESS\",\"output\":"), lane.progress, text("}")});
}

std::vector<Payload> RunPodPosts::body_of(const Lane& lane) const {
  if (!lane.refusal.empty()) return {text("{\"error\":"), json_string(lane.refusal), text("}")};
  const Outcome& outcome = *lane.outcome;
  Payload error = outcome.error;
  if (error.empty() && outcome.status != Status::Completed)
    error = json_string("the job ended as " + std::string(to_string(outcome.status)));
  std::vector<Payload> body{text("{")};
  auto member = [&](std::string_view begin, const Payload& value) {
    if (value.empty()) return;
    if (body.size() > 1) body.push_back(text(","));
    body.push_back(text(begin));
    body.push_back(value);
  };
  member("\"output\":", outcome.output);
  member("\"error\":", error);
  if (outcome.refresh_worker && options_.stop_pod) member("\"stopPod\":", text("true"));
  body.push_back(text("}"));
  return body;
}

/// What a former supervisor did not come to send.
void RunPodPosts::read_chunks(Lane& lane) {
  lane.stage = Lane::Stage::Reading;
  ++under_way_;
  journal_.chunks(lane.id, lane.chunk_sent + 1, kReadAtOnce,
                  [this, number = lane.number](std::vector<StoredChunk> read) {
                    if (Lane* reader = was_read(number)) chunks_read(*reader, std::move(read));
                    pump();
                  });
}

void RunPodPosts::chunks_read(Lane& lane, std::vector<StoredChunk> read) {
  if (const std::string_view why = journal_.unreadable(); why.empty()) {
    lane.unread = 0;
  } else {
    HttpResult nothing;
    nothing.error = why;
    if (++lane.unread < kReadTries) return failed(lane, nothing);
    channel_.tell(RunPodNotice::Weight::Warning, "chunks of a stream are not sent: " + nothing.error, lane.id);
  }
  lane.stored = !read.empty();
  for (StoredChunk& chunk : read) lane.chunks.push_back({chunk.number, std::move(chunk.chunk), nullptr});
  ask(lane);
}

void RunPodPosts::read_outcome(Lane& lane) {
  lane.stage = Lane::Stage::Reading;
  ++under_way_;
  journal_.lookup_unsettled(lane.id, [this, number = lane.number](std::optional<Remembered> known) {
    if (Lane* reader = was_read(number)) outcome_read(*reader, std::move(known));
    pump();
  });
}

/// The lane, idle again, unless it is over.
RunPodPosts::Lane* RunPodPosts::was_read(Number number) {
  auto found = lanes_.find(number);
  if (found == lanes_.end() || found->second->stage != Lane::Stage::Reading) return nullptr;
  --under_way_;
  found->second->stage = Lane::Stage::Idle;
  return found->second.get();
}

void RunPodPosts::outcome_read(Lane& lane, std::optional<Remembered> known) {
  if (known) {
    lane.outcome = std::move(known->outcome);
    lane.held = lane.outcome->output.size() + lane.outcome->error.size();
    held_bytes_ += lane.held;
    return ask(lane);
  }
  if (++lane.unread < kReadTries) {
    HttpResult nothing;
    nothing.error = "the journal cannot read a result";
    return failed(lane, nothing);
  }
  lane.refusal = "the result of this job was lost: the journal cannot read it";
  ask(lane);
}

void RunPodPosts::post(Lane& lane, Post what, std::string url, std::vector<Payload> body) {
  lane.stage = Lane::Stage::Posting;
  if (std::exchange(lane.what, what) != what) lane.tries = 0;
  ++lane.tries;
  ++under_way_;
  HttpRequest request;
  request.method = "POST";
  request.url = std::move(url);
  request.headers = options_.headers;
  // As the official worker calls it, though it is JSON.
  request.headers.emplace_back("Content-Type: application/x-www-form-urlencoded");
  request.headers.emplace_back("charset: utf-8");
  request.headers.push_back("X-Request-ID: " + lane.id);
  std::erase_if(request.headers.back(), [](char c) { return c >= 0 && c < ' '; });
  request.body = std::move(body);
  request.timeout = what == Post::Result ? kResultTimeout : what == Post::Chunk ? kChunkTimeout : kProgressTimeout;
  request.redirects = 3;
  request.response_max = kAnswerMax;
  request.compressed = true;
  lane.call = http_.start(std::move(request),
                          [this, number = lane.number](const HttpResult& result) { posted(number, result); });
}

void RunPodPosts::posted(Number number, const HttpResult& result) {
  auto found = lanes_.find(number);
  if (found == lanes_.end() || found->second->stage != Lane::Stage::Posting) return;
  Lane& lane = *found->second;
  lane.stage = Lane::Stage::Idle;
  --under_way_;
  bool good = taken_by(result);
  if (!good && !for_good(result)) {
    failed(lane, result);
    return pump();
  }
  good ? channel_.good() : channel_.refused();
  switch (lane.what) {
    case Post::Chunk: chunk_over(lane, good); break;
    case Post::Progress:
      lane.tries = 0;
      if (lane.progress_posted) lane.progress = {};
      if (lane.has_more()) ask(lane);
      break;
    case Post::Result:
      if (good)
        close(lane);
      else
        refused(lane, result);
      break;
    case Post::None: break;
  }
  pump();
}

void RunPodPosts::chunk_over(Lane& lane, bool taken) {
  auto over = std::move(lane.chunks.front());
  lane.chunks.pop_front();
  lane.tries = 0;
  lane.chunk_sent = over.number;
  if (taken)
    journal_.polled(lane.id, over.number);
  else if (!std::exchange(lane.chunk_refused, true))
    channel_.tell(
        RunPodNotice::Weight::Warning,
        "the platform refused chunk " + std::to_string(over.number) + " of a stream; further ones are not told",
        lane.id);
  if (lane.has_more()) ask(lane);
  if (over.taken) over.taken();
}

/// To be tried again. A result that is in the journal is not kept in memory for that.
void RunPodPosts::failed(Lane& lane, const HttpResult& result) {
  milliseconds pause = channel_.bad(result);
  if (lane.what == Post::Progress && (lane.tries >= kProgressTries || !lane.progress_posted || lane.ended)) {
    if (lane.progress_posted) lane.progress = {};
    lane.tries = 0;
  }
  if (lane.ended && lane.journalled) {
    lane.outcome.reset();
    held_bytes_ -= std::exchange(lane.held, 0);
  }
  if (!lane.has_more()) return;
  auto at = std::chrono::steady_clock::now() + pause;
  if (channel_.failing()) {
    closed_until_ = at;
    lane.stage = Lane::Stage::InLine;
    line_.push_back(lane.number);
  } else {
    lane.stage = Lane::Stage::Pausing;
    pausing_.set(lane, at);
  }
  arm();
}

void RunPodPosts::refused(Lane& lane, const HttpResult& result) {
  bool second = !lane.refusal.empty();
  std::string reason = fault_of(result);
  if (!result.body.empty()) reason += ": " + hidden(result.body.substr(0, kQuotedMax), options_.secret);
  if (second) {
    channel_.tell(RunPodNotice::Weight::Error,
                  "the platform took neither the result nor the error in its place (" + reason + "): given up",
                  lane.id);
    return close(lane);
  }
  std::vector<Payload> body = body_of(lane);
  std::string size = std::to_string(size_of(body));
  channel_.tell(RunPodNotice::Weight::Error,
                "the platform refused the result of " + size + " bytes (" + reason + "): the job is reported as failed",
                lane.id);
  if (options_.keep) options_.keep(lane.id, reason, body);
  lane.refusal = "the platform refused the result of this job, " + size + " bytes: " + reason;
  lane.outcome.reset();
  held_bytes_ -= std::exchange(lane.held, 0);
  lane.tries = 0;
  ask(lane);
}

// ---- time ----------------------------------------------------------------------------------------------------------

void RunPodPosts::arm() {
  auto earliest = pausing_.earliest();
  if (closed_until_ && (!earliest || *closed_until_ < *earliest)) earliest = closed_until_;
  if (!earliest) return;
  timer_.expires_at(*earliest);
  timer_.async_wait([this](boost::system::error_code error) {
    if (!error) wake();
  });
}

void RunPodPosts::wake() {
  auto now = std::chrono::steady_clock::now();
  if (closed_until_ && *closed_until_ <= now) closed_until_.reset();
  while (Lane* due = pausing_.pop_due(now)) {
    due->stage = Lane::Stage::InLine;
    line_.push_back(due->number);
  }
  arm();
  pump();
}

}  // namespace bulkhead
