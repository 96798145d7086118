// cp.async, ldmatrix and mma of runtime/cuda/gpu.h.
#ifndef TRIREME_TESTS_EMULATOR_MATRIX_H_
#define TRIREME_TESTS_EMULATOR_MATRIX_H_

#include <cstdint>

#include "tests/emulator/emulator.h"

namespace trireme {

using SharedAddress = uint32_t;

SharedAddress SharedAddressOf(const void* shared, emulator::Site site = emulator::Site::current());

void CpAsync16(SharedAddress shared, const void* global, bool valid = true,
               emulator::Site site = emulator::Site::current());
inline void CpAsync16(void* shared, const void* global, bool valid = true,
                      emulator::Site site = emulator::Site::current()) {
  CpAsync16(SharedAddressOf(shared, site), global, valid, site);
}
void CpAsyncCommit();
namespace emulator {
void WaitForCopies(int pending);
}
template <int kPending>
void CpAsyncWait() {
  emulator::WaitForCopies(kPending);
}

void LdMatrix(uint32_t (&registers)[4], SharedAddress row, emulator::Site site = emulator::Site::current());
void LdMatrixTrans(uint32_t (&registers)[4], SharedAddress row,
                   emulator::Site site = emulator::Site::current());
void MmaBf16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
             emulator::Site site = emulator::Site::current());

}  // namespace trireme

#endif  // TRIREME_TESTS_EMULATOR_MATRIX_H_
