// Everything about jobs that is posted to RunPod's platform: chunks, progress, and results, which are posted again and
// again until they are taken or refused for good.
//
// Each job has a lane, in which one post is under way at a time: so chunks are in order, progress is coalesced to the
// newest, and nothing follows the result. What a lane holds is bounded: chunks by the window of the handler's process,
// which waits for them to be taken; a result is in the journal, and is held in memory only for its first try.
//
// While posts fail one after another a single lane tries, with growing pauses, and the others wait.

#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "supervisor/job/deadlines.hpp"
#include "supervisor/job/ports.hpp"
#include "supervisor/source/http_client.hpp"
#include "supervisor/source/runpod_channel.hpp"
#include "supervisor/source/runpod_urls.hpp"

namespace bulkhead {

class RunPodPosts {
 public:
  struct Options {
    std::vector<std::string> headers;
    std::string secret;  ///< of the headers; never shown
    bool stop_pod = false;
    /// Keeps, for the operator, a result that the platform refused for good, with the reason.
    std::function<void(std::string_view job_id, std::string_view reason, const std::vector<Payload>& body)> keep;
  };

  RunPodPosts(boost::asio::any_io_executor executor, HttpClient& http, const RunPodUrls& urls, Journal& journal,
              RunPodChannel channel, Options options);
  ~RunPodPosts();
  RunPodPosts(const RunPodPosts&) = delete;
  RunPodPosts& operator=(const RunPodPosts&) = delete;

  /// A job is here. `known`: from a former supervisor's life.
  void open(const std::string& job_id, const Recovered* known = nullptr);
  bool has(std::string_view job_id) const { return by_job_.contains(job_id); }

  // Of jobs that are here; others are ignored.
  /// `taken` is called when the platform has it, or will never.
  void chunk(const std::string& job_id, std::uint32_t number, Payload value, std::function<void()> taken);
  void progress(const std::string& job_id, Payload value);
  /// The platform wants no more of this job: nothing of it is sent from here on, its result neither.
  void mute(std::string_view job_id);
  /// The job has ended, and the journal has how. `settled` is called when the platform has it, or never will.
  void finish(const std::string& job_id, const Outcome& outcome, std::function<void()> settled);
  /// The same of an end that the journal does not keep as one to be delivered.
  void answer(const std::string& job_id, Outcome outcome);

  /// Of one of which nothing was said yet: it is not here after all, and the platform may hand it over again.
  void leave(std::string_view job_id);

  /// Ids of the jobs that are here, in the order they came: until their results are taken.
  std::vector<std::string_view> jobs() const;
  bool empty() const { return lanes_.empty(); }
  /// Results that are not taken.
  std::size_t unsent() const { return unsent_; }
  /// `sent` is called once, when no job is here any more.
  void flush(std::function<void()> sent);

 private:
  using Number = std::uint64_t;
  enum class Post : std::uint8_t { None, Chunk, Progress, Result };
  struct Chunk;
  struct Lane;

  Lane* find(std::string_view job_id);
  void ask(Lane& lane);
  void pump();
  void begin(Lane& lane);
  void read_chunks(Lane& lane);
  void chunks_read(Lane& lane, std::vector<StoredChunk> read);
  void read_outcome(Lane& lane);
  Lane* was_read(Number number);
  void outcome_read(Lane& lane, std::optional<Remembered> known);
  void post(Lane& lane, Post what, std::string url, std::vector<Payload> body);
  void posted(Number number, const HttpResult& result);
  void failed(Lane& lane, const HttpResult& result);
  void refused(Lane& lane, const HttpResult& result);
  void chunk_over(Lane& lane, bool taken);
  std::deque<Chunk> silence(Lane& lane);
  void close(Lane& lane);
  void arm();
  void wake();
  std::vector<Payload> body_of(const Lane& lane) const;

  HttpClient& http_;
  const RunPodUrls& urls_;
  Journal& journal_;
  RunPodChannel channel_;
  Options options_;
  boost::asio::steady_timer timer_;
  std::map<Number, std::unique_ptr<Lane>> lanes_;
  std::unordered_map<std::string_view, Lane*> by_job_;  ///< keys view the lanes' ids
  std::deque<Number> line_;                             ///< those that have something to post
  Deadlines<Lane> pausing_;
  std::optional<std::chrono::steady_clock::time_point> closed_until_;  ///< nobody posts before that
  std::function<void()> sent_;
  Number last_ = 0;
  int under_way_ = 0;
  std::size_t unsent_ = 0;
  std::size_t held_bytes_ = 0;  ///< of results in memory
  bool streams_ = false;        ///< a job had chunks: the handler is a generator, also where a job has none
  bool pumping_ = false;
};

}  // namespace bulkhead
