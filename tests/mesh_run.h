// Trains a small model on thread ranks and hands back everything that all meshes must agree on.
#ifndef TRIREME_TESTS_MESH_RUN_H_
#define TRIREME_TESTS_MESH_RUN_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "configs/config.pb.h"
#include "launch/trainer.h"
#include "parallel/thread_communicator.h"
#include "runtime/device.h"

namespace trireme {

class Trainer;

// Global tensors by parameter name, in the parameter's own (unpadded) extent.
using GlobalTensors = std::map<std::string, std::vector<double>>;

struct MeshRunResult {
  std::vector<double> losses;  // of each step
  std::vector<double> z_losses;
  std::vector<double> norms;             // gradient norms
  std::vector<int64_t> dropped_choices;  // of experts
  double evaluation = 0;                 // loss of the first batch before training
  GlobalTensors initial_parameters;
  GlobalTensors gradients;           // of the last step, summed over tokens
  GlobalTensors parameters;          // after the last step
  int64_t allocations_in_steps = 0;  // device allocations after the first step, over all ranks
};

// `recipe`: a file under configs/. `overrides` as of --set; they say the mesh. Runs `num_steps` steps on as
// many thread ranks as the mesh has, on a fixed made-up token sequence. `make_device` is called by each rank.
using MakeDevice = std::function<std::unique_ptr<Device>()>;
std::unique_ptr<Device> MakeCpuDevice();
// What a test does beside the run, on every rank.
struct RunHooks {
  // Makes the communicator that stands in for the rank's world: where the device's memory is not the host's,
  // for what lies in it only.
  std::function<std::unique_ptr<Communicator>(Communicator& world, Device& device)> wrap_world;
  // Before the trainer's state is initialised, and after the last step.
  std::function<void(Trainer& trainer, Communicator& world, Device& device)> prepare;
  std::function<void(Trainer& trainer, Communicator& world)> at_end;
};
MeshRunResult RunOnThreads(const std::string& recipe, const std::vector<std::string>& overrides,
                           int num_steps, const ThreadOptions& options = {},
                           const MakeDevice& make_device = MakeCpuDevice, const RunHooks& hooks = {});

// Resolves a recipe for the number of ranks that its mesh asks for. Aborts on an invalid one.
Config TestConfig(const std::string& recipe, const std::vector<std::string>& overrides);

// ||a - b|| / max(||b||, scale), over one tensor.
double RelativeDistance(const std::vector<double>& a, const std::vector<double>& b, double scale);

// The norm of all tensors together.
double GlobalNorm(const GlobalTensors& tensors);

}  // namespace trireme

#endif  // TRIREME_TESTS_MESH_RUN_H_
