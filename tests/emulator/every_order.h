// Runs a test in every order in which the emulator can run threads; on a GPU, once.
#ifndef TRIREME_TESTS_EMULATOR_EVERY_ORDER_H_
#define TRIREME_TESTS_EMULATOR_EVERY_ORDER_H_

#include <gtest/gtest.h>

#ifndef __CUDACC__
#include "tests/emulator/emulator.h"
#endif

namespace trireme {

template <typename Test>
void InEveryOrder(Test test) {
#ifdef __CUDACC__
  test();
#else
  for (const emulator::Order order : emulator::kAllOrders) {
    SCOPED_TRACE(emulator::Name(order));
    emulator::SetOrder(order, 7);
    test();
  }
  emulator::SetOrder(emulator::Order::kForward);
#endif
}

}  // namespace trireme

#endif  // TRIREME_TESTS_EMULATOR_EVERY_ORDER_H_
