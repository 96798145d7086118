// What a run stands on before anything of its model is made: the mesh of its ranks and their devices.
#ifndef TRIREME_LAUNCH_RUN_PLACE_H_
#define TRIREME_LAUNCH_RUN_PLACE_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "configs/config.pb.h"
#include "launch/environment.h"
#include "parallel/mesh.h"
#include "runtime/communicator.h"
#include "runtime/device.h"

namespace trireme {

struct RunPlace {
  std::unique_ptr<Mesh> mesh;
  std::unique_ptr<Device> device;
  std::unique_ptr<Communicator> device_world;  // null where the host's serves
  std::unique_ptr<Mesh> device_mesh;
  std::string transport;  // what joins the devices, in words; empty where nothing has to
};

// Collective over `world`. Opens the mesh and the device, and connects the ranks' devices where their memory
// is not the host's. Returns the exit code, the same on every rank; the first rank with an error has said it.
int OpenPlace(const Config& config, const LaunchEnvironment& environment, Communicator& world,
              RunPlace* place);

// Collective over `world`. Every rank has a status; the exit code of the worst is everyone's.
int AgreeOn(const absl::Status& status, Communicator& world);

}  // namespace trireme

#endif  // TRIREME_LAUNCH_RUN_PLACE_H_
