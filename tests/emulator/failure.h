// How the emulator says that a rule was broken.
#ifndef TRIREME_TESTS_EMULATOR_FAILURE_H_
#define TRIREME_TESTS_EMULATOR_FAILURE_H_

#include <string>

#include "tests/emulator/emulator.h"

namespace trireme::emulator {

// "file:line".
std::string Place(const Site& site);

// Prints and aborts, or throws Error, as SetOnFailure says. Not from within a fiber if it is to throw.
[[noreturn]] void ReportFailure(const std::string& message);

// Of SetOrder; never zero.
uint64_t RandomSeed();

}  // namespace trireme::emulator

#endif  // TRIREME_TESTS_EMULATOR_FAILURE_H_
