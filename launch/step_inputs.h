// The samples of a step on their way into the programs' inputs. On a GPU they travel on a stream of their
// own, from pinned memory, and twice the room lets those of the next step travel while this one computes.
#ifndef TRIREME_LAUNCH_STEP_INPUTS_H_
#define TRIREME_LAUNCH_STEP_INPUTS_H_

#include <array>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "launch/rank_plan.h"
#include "runtime/device.h"

namespace trireme {

// What a micro-batch is filled from: `count` sequences, sample after sample, each of sequence_length ids and
// labels. The pointers live until the next call.
struct Samples {
  const int32_t* inputs = nullptr;
  const int32_t* labels = nullptr;
  const int64_t* sample_ids = nullptr;  // global, [count]: the keys of dropout
};

// Gives the samples of micro-batch m of this rank's replica. Called once for each of a step, by ascending
// number.
using ReadSamples = std::function<Samples(int micro_batch)>;

class StepInputs {
 public:
  // Allocates all that it will use. `plan` and `device` must outlive it.
  StepInputs(const RankPlan& plan, Device& device);

  // Before the list of a step, whose samples may have been read ahead, or of an evaluation, whose have not.
  // What was begun before has been waited for.
  void BeginStep();
  void BeginEvaluation() { num_kept_ = 0; }

  // Enqueues on the compute stream the filling of the inputs of `program` for a micro-batch. `read` is asked
  // for those that were neither read ahead nor asked for before.
  void Load(const Program& program, int micro_batch, const ReadSamples& read,
            const std::vector<std::pair<ValueId, void*>>& inputs);

  // Reads the samples of the step after the one that is under way. On the host, which would only do now what
  // it can do then, nothing happens.
  void ReadAhead(const ReadSamples& read);

  // What a plan's inputs take on a device that is not the host.
  // `alibi_heads`: of the model.
  static int64_t DeviceBytes(const BatchGeometry& batch, int64_t alibi_heads);

 private:
  // One micro-batch's samples, in the order of in_stream_, in the host's memory or the device's.
  struct Kept {
    int32_t* ids;
    int32_t* targets;
    int64_t* token_index;
  };
  // All micro-batches of a step, twice: in host memory, and where the compute stream reads them.
  struct Half {
    char* host = nullptr;
    char* device = nullptr;
  };

  Kept At(char* memory, int micro_batch) const;
  void Keep(const Half& half, int micro_batch, const Samples& samples);
  const void* Source(const Value& value, int micro_batch) const;
  // Which of the equal parts of an input this rank has.
  int64_t ShareOf(const Value& value) const;

  const RankPlan& plan_;
  Device& device_;
  const int64_t tokens_;  // of a replica's micro-batch
  StreamId stream_ = 0;   // of the copies
  std::array<Half, 2> halves_;
  int current_ = 0;        // the half of the step under way
  int num_kept_ = 0;       // micro-batches that are in it
  bool has_next_ = false;  // the other half is full
  // Of a replica's micro-batch, the tokens of each rank of cp behind those of the one before: where each
  // stands in it.
  std::vector<int64_t> in_stream_;
  // The same in every micro-batch; where the compute stream reads them.
  const int32_t* positions_ = nullptr;
  const int32_t* lo_ = nullptr;     // in the order of the stream
  const int32_t* spans_ = nullptr;  // of this rank of cp
  // Where the model has slopes.
  const float* slopes_ = nullptr;    // of all heads
  const int32_t* places_ = nullptr;  // of this rank of cp
};

}  // namespace trireme

#endif  // TRIREME_LAUNCH_STEP_INPUTS_H_
