// Whose memory tests of kernels use: the host's in the emulator, a GPU's in cuda_tests (which defines
// TRIREME_GPU_TESTS).
#ifndef TRIREME_TESTS_KERNEL_DEVICE_H_
#define TRIREME_TESTS_KERNEL_DEVICE_H_

#include "runtime/device.h"

namespace trireme {

#ifdef TRIREME_GPU_TESTS
// GPU 0, for the thread that runs the tests. Closed with all its memory after each test.
Device* KernelDevice();
#else
inline Device* KernelDevice() {
  return nullptr;
}
#endif

}  // namespace trireme

#endif  // TRIREME_TESTS_KERNEL_DEVICE_H_
