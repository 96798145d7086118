// Named ranges of the host's thread, for NVIDIA's profilers; a few nanoseconds where none looks. They need a
// header of the toolkit's (find_cuda.cmake), and are nothing without it.
#ifndef TRIREME_RUNTIME_CUDA_NVTX_H_
#define TRIREME_RUNTIME_CUDA_NVTX_H_

#ifdef TRIREME_WITH_NVTX
#include <nvtx3/nvToolsExt.h>
#endif

namespace trireme {

#ifdef TRIREME_WITH_NVTX
inline constexpr bool kHasNvtx = true;
inline void PushNvtxRange(const char* name) {
  nvtxRangePushA(name);
}
inline void PopNvtxRange() {
  nvtxRangePop();
}
#else
inline constexpr bool kHasNvtx = false;
inline void PushNvtxRange(const char*) {}
inline void PopNvtxRange() {}
#endif

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CUDA_NVTX_H_
