#include "tests/emulator/kernel_uses.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "tests/emulator/source_line.h"

namespace trireme::emulator {
namespace {

// GPU_KERNEL's mark, as nm prints it.
constexpr char kMark[] = "[abi:kernel]";

std::mutex mutex;

std::map<uint32_t, KernelUse>& UsesByOffset() {
  static auto* const uses = new std::map<uint32_t, KernelUse>;
  return *uses;
}

// "void trireme::(anonymous namespace)::Name[abi:kernel]<trireme::bf16>(long)" becomes "Name<bf16>".
std::string ShortName(std::string name) {
  const size_t mark = name.find(kMark);
  name.erase(mark, std::strlen(kMark));
  size_t end = mark;  // of the template's arguments, if it has any
  int depth = 0;
  for (; end < name.size(); ++end) {
    if (name[end] == '<') ++depth;
    if (name[end] == '>') --depth;
    if (depth == 0 && name[end] == '(') break;
  }
  name.erase(end);
  for (const char* prefix : {"(anonymous namespace)::", "trireme::", "map_internal::", "void "}) {
    for (size_t at = name.find(prefix); at != std::string::npos; at = name.find(prefix)) {
      name.erase(at, std::strlen(prefix));
    }
  }
  return name;
}

}  // namespace

void NoteLaunch(const void* kernel, int64_t blocks, int64_t threads) {
  const std::lock_guard<std::mutex> lock(mutex);
  KernelUse& use = UsesByOffset()[InstructionOffset(kernel)];
  const bool first = use.launches++ == 0;
  use.min_blocks = first ? blocks : std::min(use.min_blocks, blocks);
  use.max_blocks = std::max(use.max_blocks, blocks);
  use.min_threads = first ? threads : std::min(use.min_threads, threads);
  use.max_threads = std::max(use.max_threads, threads);
}

std::vector<KernelUse> KernelUses() {
  char program[4096];
  const ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
  if (length <= 0) return {};
  program[length] = '\0';
  char command[4300];
  std::snprintf(command, sizeof(command), "nm -C '%s' 2>/dev/null", program);
  std::vector<KernelUse> kernels;
  FILE* const pipe = popen(command, "r");
  if (pipe == nullptr) return {};
  char* line = nullptr;
  size_t capacity = 0;
  const std::lock_guard<std::mutex> lock(mutex);
  while (getline(&line, &capacity, pipe) > 0) {
    char type = 0;
    unsigned long long offset = 0;
    int name = 0;
    if (std::sscanf(line, "%llx %c %n", &offset, &type, &name) != 2) continue;
    const std::string text(line + name);
    // Functions whose own name is marked; not parts of them, nor what has them as an argument.
    const bool function = std::strchr("tTwW", type) != nullptr;
    if (!function || text.find(kMark) == std::string::npos || text.find("[clone") != std::string::npos)
      continue;
    if (text.find("::{lambda") != std::string::npos) continue;
    const auto used = UsesByOffset().find(static_cast<uint32_t>(offset));
    kernels.push_back(used == UsesByOffset().end() ? KernelUse{} : used->second);
    kernels.back().name = ShortName(text);
  }
  std::free(line);
  pclose(pipe);
  std::sort(kernels.begin(), kernels.end(),
            [](const KernelUse& a, const KernelUse& b) { return a.name < b.name; });
  return kernels;
}

}  // namespace trireme::emulator
