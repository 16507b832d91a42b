// The endpoint's dead letters: they are in the journal, and what comes back to life goes the way of a retry.

#include <utility>

#include "supervisor/source/embedded_queue.hpp"

namespace bulkhead {

void EmbeddedQueue::dead_letters(std::size_t most, std::function<void(std::span<const DeadLetter>)> seen) {
  journal_.dead_letters(most, [seen = std::move(seen)](const std::vector<DeadLetter>& letters) { seen(letters); });
}

void EmbeddedQueue::dead_letter(std::string_view id, std::function<void(const DeadLetter*)> seen) {
  journal_.dead_letter(
      id, [seen = std::move(seen)](const std::optional<DeadLetter>& letter) { seen(letter ? &*letter : nullptr); });
}

void EmbeddedQueue::retry_dead(std::string_view id, std::function<void(std::optional<Accepted>)> answered) {
  journal_.dead_letter(id, [this, answered = std::move(answered)](std::optional<DeadLetter> letter) {
    if (!letter) return answered(std::nullopt);
    if (intake_.quarantined(letter->job.input))
      return answered(
          Accepted{Refusal::Quarantined,
                   "its input is in quarantine and would be refused again; `bulkhead dead clear` lifts that",
                   {}});
    if (!make_way(letter->job.id)) return answered(Accepted{Refusal::NotFailed, "the job runs again already", {}});
    std::string kept = letter->job.id;
    retry(std::move(letter->job), [this, answered, kept = std::move(kept)](std::optional<Accepted> accepted) {
      if (accepted && accepted->refusal == Refusal::None) journal_.drop_dead(kept);
      answered(std::move(accepted));
    });
  });
}

void EmbeddedQueue::drop_dead(std::string_view id, std::function<void(bool)> dropped) {
  journal_.dead_letter(id, [this, dropped = std::move(dropped)](const std::optional<DeadLetter>& letter) {
    if (letter) journal_.drop_dead(letter->job.id);
    dropped(letter.has_value());
  });
}

}  // namespace bulkhead
