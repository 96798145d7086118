// The tests of CUDA kernels and training on a real GPU: the sources of the emulated tests, compiled by nvcc.
// Without a GPU the program says so and exits with 77, which ctest counts as skipped.
#include <gtest/gtest.h>

#include <cstdio>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "runtime/cuda_backend.h"
#include "tests/kernel_device.h"

namespace trireme {
namespace {

constexpr int kExitWithoutGpu = 77;

std::unique_ptr<Device>& OpenDevice() {
  static auto* const device = new std::unique_ptr<Device>;
  return *device;
}

// What a test allocated is freed with the device.
class CloseAfterEachTest : public testing::EmptyTestEventListener {
  void OnTestEnd(const testing::TestInfo&) override { OpenDevice() = nullptr; }
};

}  // namespace

Device* KernelDevice() {
  if (OpenDevice() == nullptr) OpenDevice() = OpenCudaDevice(0).value();
  return OpenDevice().get();
}

int RunCudaTests(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (testing::GTEST_FLAG(list_tests)) return RUN_ALL_TESTS();
  const absl::StatusOr<int> count = NumCudaDevices();
  if (!count.ok()) {
    std::printf("cuda_tests: skipped: %s\n", std::string(count.status().message()).c_str());
    return kExitWithoutGpu;
  }
  std::printf("cuda_tests: on %s\n", KernelDevice()->description());
  OpenDevice() = nullptr;
  testing::UnitTest::GetInstance()->listeners().Append(new CloseAfterEachTest);
  return RUN_ALL_TESTS();
}

}  // namespace trireme

int main(int argc, char** argv) {
  return trireme::RunCudaTests(argc, argv);
}
