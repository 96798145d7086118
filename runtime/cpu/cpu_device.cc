#include "runtime/cpu/cpu_device.h"

#include <glog/logging.h>
#include <omp.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "runtime/cpu/kernels.h"
#include "runtime/cpu/simd.h"

namespace trireme {
namespace {

constexpr int64_t kHugePageBytes = int64_t{2} << 20;

std::string Describe(int num_threads, KernelChoice choice) {
  return absl::StrCat("cpu (", choice == KernelChoice::kFast ? SimdName() : "plain kernels", ", ",
                      num_threads, num_threads == 1 ? " thread)" : " threads)");
}

}  // namespace

CpuDevice::CpuDevice(int num_threads, KernelChoice choice)
    : num_threads_(num_threads), choice_(choice), description_(Describe(num_threads, choice)) {
  CHECK_GT(num_threads, 0);
}

CpuDevice::~CpuDevice() {
  for (const Block& block : blocks_) munmap(block.address, block.bytes);
}

void* CpuDevice::Allocate(int64_t bytes) {
  CHECK_GE(bytes, 0);
  const int64_t size = std::max<int64_t>(bytes, 1);
  void* address = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) PLOG(FATAL) << "there is no memory for a block of " << bytes << " bytes";
  // Advice: where huge pages are off, small ones serve.
  if (size >= kHugePageBytes) madvise(address, size, MADV_HUGEPAGE);
  blocks_.push_back({address, size});
  return address;
}

void CpuDevice::CopyToDevice(void* device, const void* host, int64_t bytes, StreamId) {
  if (bytes > 0) std::memcpy(device, host, bytes);
}

void CpuDevice::CopyToHost(void* host, const void* device, int64_t bytes, StreamId) {
  if (bytes > 0) std::memcpy(host, device, bytes);
}

void CpuDevice::CopyWithin(void* to, const void* from, int64_t bytes, StreamId) {
  if (bytes > 0) std::memmove(to, from, bytes);
}

const KernelEntry& CpuDevice::kernel(OpKind kind) const {
  return choice_ == KernelChoice::kFast ? FastKernel(kind) : PlainKernel(kind);
}

void CpuDevice::Launch(Kernel kernel, const KernelArguments& arguments, StreamId) {
  // oneDNN asks OpenMP, not the arguments.
  omp_set_num_threads(arguments.num_threads);
  kernel(arguments);
}

}  // namespace trireme
