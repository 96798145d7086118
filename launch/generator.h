// A model that continues text: forward alone, on one rank, whatever mesh trained it.
#ifndef TRIREME_LAUNCH_GENERATOR_H_
#define TRIREME_LAUNCH_GENERATOR_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "checkpoint/tensor_slice.h"
#include "configs/config.pb.h"
#include "models/chunk.h"
#include "runtime/executor.h"

namespace trireme {

// Computes in the dtype of the master weights: fp32, also of models trained in bf16 (fp64 for those of
// tests). Keeps no state between calls, and computes the whole context for every token. Not thread-safe.
class Generator {
 public:
  // `config`: of the run, validated; its mesh is not looked at, and its dropout is off. Allocates everything
  // on `device`, which must outlive the generator.
  Generator(const Config& config, Device& device);

  // Where each parameter is to be loaded to, by its name and extent on disk.
  std::vector<TensorSlice> ParameterSlices();

  // Tokens that the model sees at once: the sequence length it was trained with, or the most positions it has
  // if these are fewer.
  int64_t context() const { return spec_.sequence_length; }

  // What the model expects behind `tokens` (at least one), of which it sees the last context(): a number for
  // each id below model.vocab_size, living until the next call.
  absl::Span<const float> Logits(absl::Span<const int32_t> tokens);

 private:
  void AllocateParameters(Device& device);
  void Fill(const std::vector<std::pair<ValueId, void*>>& inputs);

  const std::unique_ptr<Model> model_;
  ChunkSpec spec_;
  std::unique_ptr<Program> program_;
  StepPlan plan_;
  Device& device_;
  Bindings parameters_;  // by value of the program
  std::unique_ptr<Executor> executor_;
  std::vector<int32_t> ids_;
  std::vector<int32_t> positions_;
  std::vector<int32_t> lo_;
  std::vector<float> slopes_;
  std::vector<int64_t> token_index_;
  int32_t row_ = 0;  // of the token whose successor is asked for
  std::vector<char> raw_logits_;
  std::vector<float> logits_;
};

struct Sampling {
  double temperature = 0;  // 0: the likeliest token, of equals the one with the lowest id
  int64_t top_k = 0;       // only the k likeliest; 0 = all
  uint64_t seed = 1;
};

// Picks an id from logits. A pure function: the draw depends on (seed, position) alone. DataLoss where the
// logits are not all numbers.
absl::StatusOr<int32_t> ChooseToken(absl::Span<const float> logits, const Sampling& sampling,
                                    int64_t position);

}  // namespace trireme

#endif  // TRIREME_LAUNCH_GENERATOR_H_
