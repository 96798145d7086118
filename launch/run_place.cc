#include "launch/run_place.h"

#include <utility>

#include "configs/exit_codes.h"
#include "launch/command.h"
#include "launch/open_device.h"
#include "launch/rank_plan.h"
#include "parallel/nccl_communicator.h"
#include "parallel/self_communicator.h"

namespace trireme {
namespace {

absl::Status SameKindEverywhere(const Device& device, Communicator& world) {
  const int32_t mine[2] = {device.is_host() ? 1 : 0, device.is_host() ? 0 : 1};
  int32_t anyone[2] = {0, 0};  // on the host, on a GPU
  world.AllReduce(mine, anyone, 2, DType::kI32, ReduceOp::kMax);
  if (anyone[0] + anyone[1] == 1) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "train.device: auto: some ranks can use a GPU and some cannot; use cpu, or cuda to be told why not");
}

absl::StatusOr<std::unique_ptr<Communicator>> ConnectDevices(Communicator& world, Device& device) {
  if (world.size() == 1) return std::make_unique<SelfCommunicator>(&device);
  return CreateNcclWorld(world, device);
}

}  // namespace

int AgreeOn(const absl::Status& status, Communicator& world) {
  int32_t code = status.ok() ? kExitFinished : ExitCodeFor(status);
  int32_t worst = 0;
  world.AllReduce(&code, &worst, 1, DType::kI32, ReduceOp::kMax);
  // Mostly all ranks have the same to say: the first that has it says it.
  int32_t speaker = status.ok() ? -world.size() : -world.rank();
  world.AllReduce(&speaker, &speaker, 1, DType::kI32, ReduceOp::kMax);
  if (!status.ok() && speaker == -world.rank()) PrintError(status);
  return worst;
}

int OpenPlace(const Config& config, const LaunchEnvironment& environment, Communicator& world,
              RunPlace* place) {
  absl::StatusOr<std::unique_ptr<Mesh>> mesh = Mesh::Create(world, MeshSizes(config), LinksOf(config));
  if (!mesh.ok()) {  // every rank finds the same
    if (world.rank() == 0) PrintError(mesh.status());
    return kExitConfig;
  }
  place->mesh = *std::move(mesh);
  absl::StatusOr<std::unique_ptr<Device>> device = OpenDevice(config, environment);
  if (const int code = AgreeOn(device.status(), world); code != kExitFinished) return code;
  place->device = *std::move(device);
  if (const int code = AgreeOn(SameKindEverywhere(*place->device, world), world); code != kExitFinished)
    return code;
  if (place->device->is_host()) return kExitFinished;
  absl::StatusOr<std::unique_ptr<Communicator>> device_world = ConnectDevices(world, *place->device);
  if (const int code = AgreeOn(device_world.status(), world); code != kExitFinished) return code;
  place->device_world = *std::move(device_world);
  absl::StatusOr<std::unique_ptr<Mesh>> device_mesh =
      Mesh::Create(*place->device_world, MeshSizes(config), LinksOf(config));
  if (const int code = AgreeOn(device_mesh.status(), world); code != kExitFinished) return code;
  place->device_mesh = *std::move(device_mesh);
  return kExitFinished;
}

}  // namespace trireme
