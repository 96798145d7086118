// From an instruction of this program to a line of its source, and from a symbol to its address.
#ifndef TRIREME_TESTS_EMULATOR_SOURCE_LINE_H_
#define TRIREME_TESTS_EMULATOR_SOURCE_LINE_H_

#include <cstdint>
#include <string>

namespace trireme::emulator {

// Distance from the start of the program, which fits 31 bits.
uint32_t InstructionOffset(const void* instruction);
// The address at a distance from the start of the program, as nm of binutils gives it.
const void* AddressAt(uint64_t offset);
// "file:line" by addr2line of binutils; "program + offset" where there is none. An access inlined from a
// header is given with the line that it was inlined into.
std::string SourceLine(uint32_t instruction_offset);

}  // namespace trireme::emulator

#endif  // TRIREME_TESTS_EMULATOR_SOURCE_LINE_H_
