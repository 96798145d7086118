// Which kernels this program has, and which of them ran: a launcher chooses by size among kernels and
// instances of their templates, so a kernel that never ran is a branch that nothing tests.
#ifndef TRIREME_TESTS_EMULATOR_KERNEL_USES_H_
#define TRIREME_TESTS_EMULATOR_KERNEL_USES_H_

#include <cstdint>
#include <string>
#include <vector>

namespace trireme::emulator {

struct KernelUse {
  std::string name;  // "RmsNormKernel<true, bf16>", without namespaces
  int64_t launches = 0;
  int64_t min_blocks = 0, max_blocks = 0;
  int64_t min_threads = 0, max_threads = 0;  // of a block
};

// How often a GPU_BRANCH went each way.
struct BranchCounts {
  int64_t otherwise;
  int64_t taken;
};
struct BranchUse {
  std::string name;  // "RmsNormKernel<true, bf16> several_groups"
  BranchCounts counts;
};

// By GPU_BRANCH. Returns `taken`.
bool NoteBranch(BranchCounts& counts, bool taken);
// By GPU_LAUNCH.
void NoteLaunch(const void* kernel, int64_t blocks, int64_t threads);
// Every kernel that is linked into this program, by name; empty where binutils' nm is missing.
std::vector<KernelUse> KernelUses();
// Every GPU_BRANCH of each instance of a kernel or of a function of kernels; those of one function in several
// source files added up.
std::vector<BranchUse> BranchUses();

}  // namespace trireme::emulator

#endif  // TRIREME_TESTS_EMULATOR_KERNEL_USES_H_
