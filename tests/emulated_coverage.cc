// Beside the tests of emulated kernels: after them all, prints each kernel with how often and in which sizes
// it ran, and fails if one did not run at all; and the same of the branches inside kernels that sizes choose
// (GPU_BRANCH).
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
    CheckBranches();
  }

 private:
  static void CheckBranches() {
    const std::vector<emulator::BranchUse> branches = emulator::BranchUses();
    std::printf("%12s %12s  branch of a kernel that sizes choose, how often it was taken and not\n", "taken",
                "not taken");
    for (const emulator::BranchUse& b : branches) {
      std::printf("%12lld %12lld  %s\n", static_cast<long long>(b.counts.taken),
                  static_cast<long long>(b.counts.otherwise), b.name.c_str());
      EXPECT_GT(b.counts.taken, 0) << b.name << ": no case takes this branch";
      EXPECT_GT(b.counts.otherwise, 0) << b.name << ": no case goes past this branch";
    }
    EXPECT_FALSE(branches.empty()) << "nm (binutils) lists none of the branches";
  }
};

[[maybe_unused]] const testing::Environment* const kEveryKernelRuns =
    testing::AddGlobalTestEnvironment(new EveryKernelRuns);

}  // namespace
}  // namespace trireme
