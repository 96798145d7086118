#include "launch/run_place.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "configs/exit_codes.h"
#include "launch/command.h"
#include "launch/open_device.h"
#include "launch/rank_plan.h"
#include "parallel/host_staged_communicator.h"
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

// How many ranks have a GPU that another rank has too. Collective.
int64_t NumSharingRanks(const Device& device, Communicator& world) {
  using Id = std::array<uint8_t, 16>;
  const Id mine = device.hardware_id();
  std::vector<Id> all(world.size());
  world.AllGather(mine.data(), all.data(), sizeof(Id), DType::kU8);
  return std::count_if(all.begin(), all.end(),
                       [&](const Id& id) { return std::count(all.begin(), all.end(), id) > 1; });
}

absl::Status ConnectDevices(const Config& config, Communicator& world, RunPlace* place) {
  Device& device = *place->device;
  if (world.size() == 1) {
    place->device_world = std::make_unique<SelfCommunicator>(&device);
    return absl::OkStatus();
  }
  const std::string& transport = config.parallel().transport();
  const int64_t sharing = NumSharingRanks(device, world);
  if (transport == "host" || (transport == "auto" && sharing > 0)) {
    place->transport =
        sharing > 0 ? absl::StrCat("the host's memory, ", sharing, " ranks share GPUs; slow, for tests")
                    : "the host's memory, as parallel.transport asks";
    place->device_world = StageThroughHost(world, device);
    return absl::OkStatus();
  }
  if (sharing > 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("parallel.transport: nccl: ", sharing,
                     " ranks share GPUs, which NCCL does not do; start a rank a GPU, or use auto or host"));
  }
  absl::StatusOr<std::unique_ptr<Communicator>> nccl = CreateNcclWorld(world, device);
  if (!nccl.ok()) return nccl.status();
  place->transport = "NCCL";
  place->device_world = *std::move(nccl);
  return absl::OkStatus();
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
  if (const int code = AgreeOn(ConnectDevices(config, world, place), world); code != kExitFinished)
    return code;
  absl::StatusOr<std::unique_ptr<Mesh>> device_mesh =
      Mesh::Create(*place->device_world, MeshSizes(config), LinksOf(config));
  if (const int code = AgreeOn(device_mesh.status(), world); code != kExitFinished) return code;
  place->device_mesh = *std::move(device_mesh);
  return kExitFinished;
}

}  // namespace trireme
