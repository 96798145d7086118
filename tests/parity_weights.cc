// Writes the initial weights of a small model as a checkpoint, for tests/reference/pytorch_reference.py: the
// same bytes that `trireme train --set train.steps=0` saves, but with any vocabulary, for it reads no data.
//
//   parity_weights RUN_DIRECTORY RECIPE [OVERRIDE...]     prints the checkpoint's directory
#include <glog/logging.h>

#include <cstdio>
#include <memory>

#include "checkpoint/writer.h"
#include "launch/checkpoint_state.h"
#include "launch/trainer.h"
#include "parallel/thread_communicator.h"
#include "runtime/cpu/cpu_device.h"
#include "tests/mesh_run.h"

namespace trireme {
namespace {

void WriteInitialWeights(const std::string& directory, const Config& config) {
  RunThreadRanks(1, [&](Communicator& world) {
    absl::StatusOr<std::unique_ptr<Mesh>> mesh = Mesh::Create(world, MeshSizes(config));
    CHECK(mesh.ok()) << mesh.status();
    CpuDevice device(1);
    RankPlan plan = MakeRankPlan(config, (*mesh)->coordinate(), device);
    Trainer trainer(plan, **mesh, device);
    trainer.Initialize(static_cast<uint64_t>(config.train().seed()));
    const std::unique_ptr<Storage> storage = NewPosixStorage();
    const SaveRequest request = {
        .run_directory = directory, .state = {.run_id = "parity"}, .aliases = Aliases(*plan.model)};
    const absl::StatusOr<SaveReport> report = Save(request, SlicesToSave(trainer.store()), world, *storage);
    CHECK(report.ok()) << report.status();
    std::printf("%s\n", report->directory.c_str());
  });
}

}  // namespace
}  // namespace trireme

int main(int argc, char** argv) {
  CHECK_GE(argc, 3) << "usage: parity_weights RUN_DIRECTORY RECIPE [OVERRIDE...]";
  trireme::WriteInitialWeights(argv[1], trireme::TestConfig(argv[2], {argv + 3, argv + argc}));
  return 0;
}
