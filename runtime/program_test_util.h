// Runs a recorded program on the CPU, for tests: whole micro-batches, in any dtype, without a model or a
// mesh.
#ifndef TRIREME_RUNTIME_PROGRAM_TEST_UTIL_H_
#define TRIREME_RUNTIME_PROGRAM_TEST_UTIL_H_

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/cpu/cpu_device.h"
#include "runtime/executor.h"
#include "runtime/passes/memory_plan.h"
#include "runtime/program.h"

namespace trireme {

struct ProgramRunOptions {
  int num_micro_batches = 1;
  AxisSizes mesh;
  AxisSizes coordinate = {{0, 0, 0, 0}};
  Communicator* tp = nullptr;  // needed where the program communicates along tp
};

// Forward and backward of every micro-batch, one after the other, each in a slot of its own. Not yet written
// memory holds NaN, so that a value that is read before it is written shows.
class ProgramRun {
 public:
  explicit ProgramRun(const Program& program, const ProgramRunOptions& options = {});

  // The numbers of an input, a received value, a parameter or state. Floating values that are not set are
  // normal random numbers, the same for the same name; inputs and received values differ between
  // micro-batches.
  void Set(ValueId id, std::vector<double> numbers, int micro_batch = 0);
  // What the value holds: before Run what is given, after it what was computed. Only parameters, gradients,
  // state and what lives in a slot to the end (stage borders, the loss) can be read.
  std::vector<double> Get(ValueId id, int micro_batch = 0) const;
  // What the run is given as this value.
  const std::vector<double>& given(ValueId id, int micro_batch = 0) const;

  void Run();
  // Of term `term` of the loss.
  double loss(int micro_batch, int64_t term = 0) const { return losses_[micro_batch * num_terms_ + term]; }
  int64_t num_terms() const { return num_terms_; }

  const Program& program() const { return program_; }
  const MemoryPlan& memory() const { return memory_; }
  int num_micro_batches() const { return options_.num_micro_batches; }

 private:
  bool IsPersistent(ValueId id) const;
  void MakePlan();
  void Allocate();
  void* Address(ValueId id, int micro_batch) const { return executor_->Address(0, id, micro_batch); }

  const Program& program_;
  const ProgramRunOptions options_;
  CpuDevice device_;
  StepPlan plan_;
  MemoryPlan memory_;
  Bindings bindings_;
  std::vector<std::pair<void*, int64_t>> blocks_;  // filled with NaN before each run
  std::unique_ptr<Executor> executor_;
  std::map<std::pair<ValueId, int>, std::vector<double>> given_;  // by value and micro-batch
  int64_t num_terms_ = 1;
  std::vector<double> losses_;
};

// Everything that an op reads must be what was written last to that value, and nothing that lives may be
// written over: found by running the plan on paper, byte by byte. Returns one line a violation.
std::vector<std::string> MemoryViolations(const Program& program, const MemoryPlan& plan,
                                          const Device& device);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_PROGRAM_TEST_UTIL_H_
