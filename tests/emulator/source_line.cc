#include "tests/emulator/source_line.h"

#include <unistd.h>

#include <cstdio>
#include <vector>

extern "C" const char __executable_start[];  // by the linker, NOLINT(bugprone-reserved-identifier)

namespace trireme::emulator {

uint32_t InstructionOffset(const void* instruction) {
  return static_cast<uint32_t>(static_cast<const char*>(instruction) - __executable_start);
}

const void* AddressAt(uint64_t offset) {
  return __executable_start + offset;
}

std::string SourceLine(uint32_t instruction_offset) {
  char program[4096];
  const ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
  if (length <= 0) return "?";
  program[length] = '\0';
  char command[4300];
  // The return address lies behind the call: one byte before it is inside.
  std::snprintf(command, sizeof(command), "addr2line -i -e '%s' 0x%x 2>/dev/null", program,
                instruction_offset - 1);
  std::string text;
  if (FILE* pipe = popen(command, "r"); pipe != nullptr) {
    char line[1024];
    while (std::fgets(line, sizeof(line), pipe) != nullptr) {
      std::string place = line;
      while (!place.empty() && (place.back() == '\n' || place.back() == ' ')) place.pop_back();
      const size_t slash = place.rfind('/');
      if (slash != std::string::npos) place.erase(0, slash + 1);
      const size_t note = place.find(" (discriminator");
      if (note != std::string::npos) place.erase(note);
      text += (text.empty() ? "" : " in ") + place;
    }
    pclose(pipe);
  }
  if (!text.empty() && text[0] != '?') return text;
  std::snprintf(command, sizeof(command), "program + 0x%x", instruction_offset);
  return command;
}

}  // namespace trireme::emulator
