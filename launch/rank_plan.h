// Everything that one rank will do, decided before anything is allocated or sent: its Programs, its step as
// one list, and its memory. It needs no communicator, so the plan of any rank of any mesh can be made,
// checked and printed anywhere.
#ifndef TRIREME_LAUNCH_RANK_PLAN_H_
#define TRIREME_LAUNCH_RANK_PLAN_H_

#include <memory>
#include <string>
#include <vector>

#include "configs/config.pb.h"
#include "launch/block_placement.h"
#include "models/chunk.h"
#include "parallel/bucket.h"
#include "parallel/mesh.h"
#include "parallel/optimizer.h"
#include "parallel/parameter_store.h"
#include "parallel/step_planner.h"
#include "runtime/device.h"
#include "runtime/passes/memory_plan.h"
#include "runtime/step_plan.h"

namespace trireme {

// Sequences and tokens of a step, from the configuration.
struct BatchGeometry {
  int64_t sequence_length = 0;
  int64_t micro_batch = 0;        // sequences of one replica at a time
  int64_t num_micro_batches = 0;  // of one replica in a step
  int64_t global_batch = 0;       // sequences of a step
  int64_t num_replicas = 1;       // dp
  int64_t replica = 0;            // this rank's
  TokenOrder order;               // of a micro-batch's tokens over cp

  int64_t tokens() const { return global_batch * sequence_length; }
  // The first of the micro_batch samples of a micro-batch, counted from the start of the step.
  int64_t FirstSample(int64_t m) const { return (m * num_replicas + replica) * micro_batch; }
};

struct RankPlan {
  AxisSizes mesh;
  AxisSizes coordinate = {{0, 0, 0, 0}};
  Precision precision;
  BatchGeometry batch;
  std::unique_ptr<Model> model;

  PipelinePlace place;
  std::vector<BlockRange> blocks;                // of every position of the pipeline
  std::vector<std::unique_ptr<Program>> chunks;  // of this stage, in the order of the model
  std::vector<Bucket> buckets;
  UpdateOptions update_options;
  std::unique_ptr<UpdateProgram> update;
  StepPlan step;
  std::vector<MemoryPlan> step_memory;

  std::vector<std::unique_ptr<Program>> evaluation_chunks;
  StepPlan evaluation;
  std::vector<MemoryPlan> evaluation_memory;

  PassingMemory passing;
  ParameterStore::Bytes persistent;
  int64_t slot_bytes = 0;
  int64_t transient_bytes = 0;
  int64_t input_bytes = 0;  // the samples of two steps, on a device that is not the host
  int64_t total_bytes() const { return persistent.total() + slot_bytes + transient_bytes + input_bytes; }

  // Whether a device that can replays segments as graphs.
  bool uses_graphs = false;

  // FLOPs of the matrix products that the mathematics needs for one token, forward and backward, over the
  // whole model.
  double flops_per_token = 0;

  // Of a step's loss: ops/cross_entropy.h. Evaluation has the first alone.
  int64_t num_loss_terms = 1;
  // Of a step, where a capacity drops some: the choices of experts over all tokens and blocks. Else 0.
  int64_t num_limited_choices = 0;
  // Whether the loss is computed here.
  bool has_loss() const { return chunks.back()->loss_sum != kNoValue; }

  // The table of memory by category, for people.
  std::string MemoryTable() const;
  // Programs and step, for `trireme explain`.
  std::string ToString() const;
};

// `config`: validated, with its mesh resolved for `mesh`. `device`: whose kernels the memory is planned for.
RankPlan MakeRankPlan(const Config& config, const AxisSizes& coordinate, const Device& device);

AxisSizes MeshSizes(const Config& config);
Precision PrecisionOf(const Config& config);

PipelinePlace PlaceOf(const Config& config, int stage);
inline StageLinks LinksOf(const Config& config) {
  return LinksOf(PlaceOf(config, 0));
}

}  // namespace trireme

#endif  // TRIREME_LAUNCH_RANK_PLAN_H_
