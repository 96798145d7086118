// Beside the tests of emulated kernels: after them all, prints each kernel with how often and in which sizes
// it ran, and fails if one did not run at all.
#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <vector>

#include "tests/emulator/kernel_uses.h"

namespace trireme {
namespace {

class EveryKernelRuns : public testing::Environment {
 public:
  void TearDown() override {
    const std::vector<emulator::KernelUse> kernels = emulator::KernelUses();
    std::printf("%9s %15s %13s  kernel\n", "launches", "blocks", "threads");
    int missing = 0;
    for (const emulator::KernelUse& k : kernels) {
      const std::string blocks = std::to_string(k.min_blocks) + "-" + std::to_string(k.max_blocks);
      const std::string threads = std::to_string(k.min_threads) + "-" + std::to_string(k.max_threads);
      std::printf("%9lld %15s %13s  %s\n", static_cast<long long>(k.launches), blocks.c_str(),
                  threads.c_str(), k.name.c_str());
      missing += k.launches == 0 ? 1 : 0;
    }
    std::printf("%zu kernels, counting each instance of a template; %d did not run\n", kernels.size(),
                missing);
    EXPECT_FALSE(kernels.empty()) << "nm (binutils) lists none of this program's kernels";
    if (testing::GTEST_FLAG(filter) != "*") {
      std::puts("A filter is set, so this is no failure.");
      return;
    }
    for (const emulator::KernelUse& k : kernels) {
      EXPECT_GT(k.launches, 0) << k.name << ": no case reaches this branch of its launcher";
    }
  }
};

[[maybe_unused]] const testing::Environment* const kEveryKernelRuns =
    testing::AddGlobalTestEnvironment(new EveryKernelRuns);

}  // namespace
}  // namespace trireme
