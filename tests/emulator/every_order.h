// Runs a test in every order in which the emulator can run threads; on a GPU, once. Sanitizers see what a
// thread touches, which no order changes: there a random one stands for all.
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
#ifdef TRIREME_SANITIZED
  constexpr emulator::Order kOrders[] = {emulator::Order::kRandom};
#else
  constexpr const auto& kOrders = emulator::kAllOrders;
#endif
  for (const emulator::Order order : kOrders) {
    SCOPED_TRACE(emulator::Name(order));
    emulator::SetOrder(order, 7);
    test();
  }
  emulator::SetOrder(emulator::Order::kForward);
#endif
}

}  // namespace trireme

#endif  // TRIREME_TESTS_EMULATOR_EVERY_ORDER_H_
