// Runs a rank's plan: steps, evaluations, and access to the state that checkpoints hold. It knows no files
// and no flags.
#ifndef TRIREME_LAUNCH_TRAINER_H_
#define TRIREME_LAUNCH_TRAINER_H_

#include <functional>
#include <memory>
#include <vector>

#include "launch/rank_plan.h"
#include "launch/step_inputs.h"
#include "parallel/mesh.h"
#include "runtime/executor.h"

namespace trireme {

struct StepResult {
  double loss = 0;              // mean over the step's tokens, before the update
  double z_loss = 0;            // the same of train.z_loss_coef's term, which is not part of `loss`
  int64_t dropped_choices = 0;  // of experts, over all tokens and blocks, where their capacity is limited
  double gradient_norm = 0;     // of the mean loss, before clipping
  bool applied = true;          // false: the gradient was not finite, and the update was skipped
};

class Trainer {
 public:
  // Collective. Allocates everything that training will use. `mesh` moves what lies in host memory,
  // `device_mesh`, of the same ranks, what lies in the device's: the same one on a host device. All must
  // outlive the trainer.
  Trainer(RankPlan& plan, Mesh& mesh, Mesh& device_mesh, Device& device);
  Trainer(RankPlan& plan, Mesh& mesh, Device& device) : Trainer(plan, mesh, mesh, device) {}

  // Collective. Master weights from the seed; or, after the caller has filled them, the compute copies on
  // every rank.
  void Initialize(uint64_t seed);
  void GatherParameters();

  // Collective. One optimiser step with this learning rate.
  // `timeline`, of the step's plan and under way, receives its events; nullptr: nobody asks.
  // `read_next`: gives the samples of the step after this one, which may be asked for while this one
  // computes; if they are, the next call does not ask its own `read`. nullptr: there is none.
  StepResult Step(double learning_rate, const ReadSamples& read, Timeline* timeline = nullptr,
                  const ReadSamples& read_next = nullptr);
  // Collective. The loss over one global batch, summed over its tokens; changes nothing. A negative label
  // counts nothing.
  double EvaluateSum(const ReadSamples& read);

  // The dense products of steps and evaluations, each problem once. Before Initialize their operands may be
  // overwritten, if they are zero afterwards.
  std::vector<GemmUse> Gemms() const;

  ParameterStore& store() { return store_; }
  const RankPlan& plan() const { return plan_; }
  StepProfile& profile() { return profile_; }

 private:
  std::unique_ptr<Executor> MakeExecutor(const StepPlan& step, const std::vector<MemoryPlan>& memory,
                                         std::vector<Bindings> bindings);
  // Runs the list, filling inputs with what `read` gives.
  void Run(Executor& executor, const StepPlan& step, const ReadSamples& read, Timeline* timeline,
           const ReadSamples& read_next);
  // Of the run's losses, which have `num_terms` each.
  double LossSum(int64_t num_terms, int64_t term);
  // Over the mesh. Collective.
  int64_t DroppedChoices();

  RankPlan& plan_;
  Mesh& mesh_;
  Mesh& device_mesh_;
  Device& device_;
  ParameterStore store_;
  StepInputs inputs_;
  StepProfile profile_;
  void* slots_ = nullptr;
  void* transient_ = nullptr;
  std::unique_ptr<Executor> step_;
  std::unique_ptr<Executor> evaluation_;
  double* losses_ = nullptr;    // of this rank's micro-batches, [num_micro_batches, terms]
  double* factors_ = nullptr;   // the last step's, [kNumStepFactors]
  int64_t* dropped_ = nullptr;  // on the device: Program::dropped_choices of all chunks
  int64_t* dropped_on_host_ = nullptr;
  std::vector<double> loss_table_;  // of each micro-batch and rank of cp; each has one writer
};

}  // namespace trireme

#endif  // TRIREME_LAUNCH_TRAINER_H_
