// What runtime/cuda/hopper.h keeps in shared memory and in parameters, and what a thread asks of wgmma.
#ifndef TRIREME_TESTS_EMULATOR_HOPPER_TYPES_H_
#define TRIREME_TESTS_EMULATOR_HOPPER_TYPES_H_

#include <cstdint>

#include "tests/emulator/types.h"

namespace trireme {

// All ones, as fresh shared memory is, is no barrier yet.
struct alignas(8) Mbarrier {
  int32_t bytes;  // announced and not landed; below zero while copies are ahead of the announcement
  uint16_t pending;
  uint16_t expected : 14;
  uint16_t phase : 1;
  uint16_t uninitialised : 1;
};

struct alignas(64) TensorMap {
  const bf16* data;
  int64_t rows;
  int64_t columns;
  int64_t row_stride;
  int box_rows;
  unsigned char padding[92];
};
static_assert(sizeof(TensorMap) == 128, "as CUtensorMap");

namespace emulator {

struct WgmmaRequest {
  float* d;
  int size;  // of d
  uint64_t a;
  const uint32_t* a_registers;  // nullptr: a is a descriptor
  uint64_t b;
  bool a_across_k;
  bool b_across_k;
  bool accumulate;
};

}  // namespace emulator
}  // namespace trireme

#endif  // TRIREME_TESTS_EMULATOR_HOPPER_TYPES_H_
