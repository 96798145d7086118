// What runtime/cuda/hopper.h includes when g++ compiles a kernel. Asynchronous work is done as late as its
// wait allows, and its destination is destroyed when it is started.
#ifndef TRIREME_TESTS_EMULATOR_HOPPER_EMULATOR_H_
#define TRIREME_TESTS_EMULATOR_HOPPER_EMULATOR_H_

#include <cstdint>

#include "tests/emulator/emulator.h"
#include "tests/emulator/hopper_types.h"
#include "tests/emulator/matrix.h"
#include "tests/emulator/types.h"

namespace trireme {

void MbarrierInit(Mbarrier* barrier, int arrivals, emulator::Site site = emulator::Site::current());
inline void MbarrierFenceInit() {}
void MbarrierArrive(Mbarrier* barrier, emulator::Site site = emulator::Site::current());
void MbarrierArriveExpect(Mbarrier* barrier, int bytes, emulator::Site site = emulator::Site::current());
void MbarrierWait(Mbarrier* barrier, int parity, emulator::Site site = emulator::Site::current());

void FenceAsync();

TensorMap MakeTensorMap(const bf16* data, int64_t rows, int64_t columns, int64_t row_stride, int box_rows);
void TmaLoad(void* tile, const TensorMap& map, int row, int column, Mbarrier* barrier,
             emulator::Site site = emulator::Site::current());
void TmaStore(const TensorMap& map, int row, int column, const void* tile,
              emulator::Site site = emulator::Site::current());
void TmaStoreCommit();
inline void PrefetchTensorMap(const TensorMap&) {}

void NamedBarrierSync(int barrier, int threads, emulator::Site site = emulator::Site::current());
void NamedBarrierArrive(int barrier, int threads, emulator::Site site = emulator::Site::current());

template <int kCount>
void TakeRegisters() {
  static_assert(kCount >= 24 && kCount <= 256 && kCount % 8 == 0);
}
template <int kCount>
void GiveRegisters() {
  static_assert(kCount >= 24 && kCount <= 256 && kCount % 8 == 0);
}

namespace emulator {

void StartWgmma(const WgmmaRequest& request, Site site);
void WaitForWgmma(int pending, Site site);
void WaitForTmaStores(int pending);

}  // namespace emulator

template <int kPending>
void TmaStoreWait() {
  emulator::WaitForTmaStores(kPending);
}

void WgmmaFence(emulator::Site site = emulator::Site::current());
void WgmmaCommit();
template <int kPending>
void WgmmaWait(emulator::Site site = emulator::Site::current()) {
  emulator::WaitForWgmma(kPending, site);
}
template <int kSize>
void WgmmaHold(float (&)[kSize]) {}

template <Major kA = Major::kK, Major kB = Major::kK, int kSize>
void Wgmma(float (&d)[kSize], uint64_t a, uint64_t b, bool accumulate,
           emulator::Site site = emulator::Site::current()) {
  static_assert(kSize == 32 || kSize == 64 || kSize == 128);
  emulator::StartWgmma({d, kSize, a, nullptr, b, kA == Major::kMN, kB == Major::kMN, accumulate}, site);
}
template <Major kB = Major::kK, int kSize>
void WgmmaFromRegisters(float (&d)[kSize], const uint32_t (&a)[4], uint64_t b, bool accumulate,
                        emulator::Site site = emulator::Site::current()) {
  static_assert(kSize == 32 || kSize == 64 || kSize == 128);
  emulator::StartWgmma({d, kSize, 0, a, b, false, kB == Major::kMN, accumulate}, site);
}

}  // namespace trireme

#endif  // TRIREME_TESTS_EMULATOR_HOPPER_EMULATOR_H_
