// `trireme bench kernels`: each kernel's time beside its floor.
#ifndef TRIREME_LAUNCH_BENCH_KERNELS_H_
#define TRIREME_LAUNCH_BENCH_KERNELS_H_

#include <string>
#include <vector>

#include "runtime/bench.h"
#include "runtime/bench_products.h"

namespace trireme {

// What a kernel's floor counts: bytes read and written once, at the copy's speed; or the operations of the
// mathematics, at that of the best product. Both ceilings are measured in the same run.
enum class Floor { kBytes, kOperations };

struct KernelRow {
  std::string name;
  double seconds;
  Floor floor;
  double work;   // bytes or operations
  double share;  // of the ceiling
  double gate;   // the share that a GPU is to reach; 0: none is set
};

struct KernelReport {
  std::string device;
  std::string dtype;
  double copy_bytes_per_second = 0;
  double peak_gflops = 0;
  std::vector<KernelRow> rows;

  std::string ToString() const;
  std::string ToJson() const;
};

struct KernelSizes {
  KernelBenchmark moving;
  std::vector<ProductBenchmark> products;
};
// Sizes that leave a CPU's or a GPU's caches, and keep either a few seconds busy.
KernelSizes SizesFor(DType dtype, const Device& device);

// `peak_gflops`: of the best product on the device.
KernelReport ReportKernels(const KernelSizes& sizes, double peak_gflops, Device& device);

}  // namespace trireme

#endif  // TRIREME_LAUNCH_BENCH_KERNELS_H_
