// What a checkpoint holds beside tensors.
#ifndef TRIREME_CHECKPOINT_STATE_H_
#define TRIREME_CHECKPOINT_STATE_H_

#include <cstdint>
#include <string>
#include <vector>

namespace trireme {

namespace manifest {
class Manifest;
}

// How many samples (windows) were taken from a token source: the whole position in the data.
struct SourcePosition {
  std::string source;
  int64_t samples = 0;
};

// The state of a run at the end of a step. The same on every rank.
struct CheckpointState {
  std::string run_id;
  uint64_t generation = 0;
  int64_t step = 0;  // steps done
  int64_t tokens_seen = 0;
  std::string mesh;    // "pp 1, dp 4, cp 1, tp 1": information only
  std::string config;  // resolved, as text
  std::string config_digest;
  std::string tokenizer_digest;
  std::string dataset_digest;
  std::vector<SourcePosition> positions;
  int64_t applied_updates = 0;  // steps without the skipped ones: what bias correction counts
  int64_t skipped_steps = 0;    // non-finite steps
  uint64_t seed = 0;  // every random stream is a function of it, so it is all the RNG state there is
  std::vector<double> loss_window;
};

void StateToManifest(const CheckpointState& state, manifest::Manifest* manifest);
CheckpointState StateOfManifest(const manifest::Manifest& manifest);

}  // namespace trireme

#endif  // TRIREME_CHECKPOINT_STATE_H_
