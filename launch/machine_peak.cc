#include "launch/machine_peak.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "launch/rank_plan.h"
#include "runtime/cpu/gemm_peak.h"
#include "runtime/cuda_backend.h"
#include "runtime/random.h"

namespace trireme {
namespace {

// The number of hosts, by their names.
int64_t NumHosts(Communicator& world) {
  char name[256] = {};
  gethostname(name, sizeof(name) - 1);
  const uint64_t mine = HashName(name);
  std::vector<uint64_t> hashes(world.size());
  world.AllGather(&mine, hashes.data(), 1, DType::kI64);
  return static_cast<int64_t>(std::set<uint64_t>(hashes.begin(), hashes.end()).size());
}

constexpr char kFormat[] = "{\"gemm_gflops\": %lf, \"dtype\": \"%15[a-z0-9]\", \"on\": \"%255[^\"]\"}";

// The peak that an earlier process of this run measured under the same conditions; 0 for none.
double Kept(const std::string& path, const std::string& dtype, const std::string& on) {
  std::FILE* file = std::fopen(path.c_str(), "r");
  if (file == nullptr) return 0;
  double peak = 0;
  char kept_dtype[16] = {};
  char kept_on[256] = {};
  const bool complete = std::fscanf(file, kFormat, &peak, kept_dtype, kept_on) == 3;
  std::fclose(file);
  return complete && kept_dtype == dtype && kept_on == on ? peak : 0;
}

void Keep(const std::string& path, double peak, const std::string& dtype, const std::string& on) {
  std::FILE* file = std::fopen(path.c_str(), "w");
  if (file == nullptr) return;  // a figure for people: the next start measures it again
  std::fprintf(file, "{\"gemm_gflops\": %.1f, \"dtype\": \"%s\", \"on\": \"%s\"}\n", peak, dtype.c_str(),
               on.c_str());
  std::fclose(file);
}

}  // namespace

double MachinePeakGflops(const Config& config, int num_cores, Device& device, Communicator& world) {
  const int64_t num_measured = device.is_host() ? NumHosts(world) : world.size();
  double peak = 0;
  if (world.rank() == 0) {
    const std::string path = config.run().directory() + "/machine.json";
    const std::string& dtype = config.train().dtype();
    const std::string on =
        device.is_host() ? absl::StrCat(num_cores, " cores") : std::string(device.description());
    peak = Kept(path, dtype, on);
    if (peak == 0) {
      // fp64 is for tests; its products are ours, not the library's.
      const DType measured = PrecisionOf(config).compute == DType::kBF16 ? DType::kBF16 : DType::kF32;
      peak = device.is_host() ? MeasureGemmPeak(measured, num_cores) : MeasureCudaGemmPeak(measured, device);
      Keep(path, peak, dtype, on);
    }
  }
  world.Broadcast(&peak, 1, DType::kF64, 0);
  return peak * static_cast<double>(num_measured);
}

}  // namespace trireme
