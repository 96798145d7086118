// Turns the emulated kernels' tests that it is linked with into race checks: see
// tests/emulator/race_checker.h.
#include <gtest/gtest.h>

#include "tests/emulator/race_checker.h"

namespace trireme {
namespace {

class RaceChecking : public testing::Environment {
 public:
  void SetUp() override { emulator::SetRaceChecking(true); }
};

[[maybe_unused]] testing::Environment* const kRaceChecking =
    testing::AddGlobalTestEnvironment(new RaceChecking);

}  // namespace
}  // namespace trireme
