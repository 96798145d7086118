// What runtime/cuda/gpu.h includes when g++ compiles a kernel: the whole language of kernels, served by the
// emulator.
#ifndef TRIREME_TESTS_EMULATOR_GPU_EMULATOR_H_
#define TRIREME_TESTS_EMULATOR_GPU_EMULATOR_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <type_traits>

#include "tests/emulator/block.h"
#include "tests/emulator/fake_runtime.h"
#include "tests/emulator/intrinsics.h"
#include "tests/emulator/kernel_uses.h"
#include "tests/emulator/matrix.h"
#include "tests/emulator/streams.h"
#include "tests/emulator/types.h"
#include "tests/emulator/warp.h"

// The mark by which kernel_uses.h finds kernels among the symbols of the program.
#define GPU_KERNEL(...) [[gnu::abi_tag("kernel")]] void
#define GPU_FN inline
#define GPU_HD inline
#define GPU_GRID_CONSTANT

// NOLINTBEGIN(bugprone-macro-parentheses): types, names and dimensions of a declaration
// The type of the lambda is the identity of the declaration, one for each instance of a template, as on the
// GPU.
#define SMEM(type, name, dims) \
  type(&name) dims =           \
      *::trireme::emulator::SharedArray<type dims>([] {}, #name, ::trireme::emulator::Site::current())
#define DSMEM(type, name) \
  type* const name = static_cast<type*>(::trireme::emulator::CurrentBlock().shared().dynamic())
// NOLINTEND(bugprone-macro-parentheses)

// The counters are found by their name among the symbols of the program, also those that were never touched.
// The lambda gives each instance of a template its own.
#define GPU_BRANCH(name, ...)                                                  \
  ([](bool taken) {                                                            \
    static constinit ::trireme::emulator::BranchCounts gpu_branch_##name = {}; \
    return ::trireme::emulator::NoteBranch(gpu_branch_##name, taken);          \
  }(__VA_ARGS__))

#define GPU_LAUNCH(kernel, ...) ::trireme::GpuLaunch(#kernel, kernel, __VA_ARGS__)

namespace trireme {
namespace emulator {

template <typename Array, typename Identity>
TRIREME_NOT_OF_THE_KERNEL Array* SharedArray(Identity, const char* name, Site site) {
  static constinit thread_local uint64_t placed_in = 0;
  static constinit thread_local void* array = nullptr;
  Block& block = CurrentBlock();
  if (placed_in != block.launch_id()) {
    array = block.PlaceShared(name, sizeof(Array), site);
    placed_in = block.launch_id();
  }
  return static_cast<Array*>(array);
}

// A kernel and its arguments, converted once to the types of its parameters.
template <typename... Parameters>
struct Call {
  void (*kernel)(Parameters...);
  std::tuple<std::remove_cv_t<Parameters>...> arguments;

  static void Run(const void* call) {
    const auto& self = *static_cast<const Call*>(call);
    std::apply(self.kernel, self.arguments);
  }
  std::string Bytes(const dim3& grid, const dim3& block, size_t dynamic_shared_bytes) const {
    return std::apply(
        [&](const auto&... argument) {
          return BytesOf(kernel, grid, block, dynamic_shared_bytes, argument...);
        },
        arguments);
  }
};

}  // namespace emulator

template <typename... Parameters, typename... Arguments>
void GpuLaunch(const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block,
               size_t dynamic_shared_bytes, void* stream, Arguments&&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments),
                "the kernel takes another number of arguments");
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  emulator::NoteLaunch(reinterpret_cast<const void*>(kernel), int64_t{grid.x} * grid.y * grid.z, block.x);
  const emulator::Call<Parameters...> call = {kernel, {static_cast<Parameters>(arguments)...}};
  emulator::Enqueue(static_cast<cudaStream_t>(stream), name, call.Bytes(grid, block, dynamic_shared_bytes),
                    [name, grid, block, dynamic_shared_bytes, call] {
                      emulator::RunGrid({name, grid, block, dynamic_shared_bytes,
                                         &emulator::Call<Parameters...>::Run, &call});
                    });
}

}  // namespace trireme

#endif  // TRIREME_TESTS_EMULATOR_GPU_EMULATOR_H_
