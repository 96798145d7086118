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
// What the names of GPU_BRANCH's counters begin with.
constexpr char kBranchMark[] = "::gpu_branch_";

std::mutex mutex;

std::map<uint32_t, KernelUse>& UsesByOffset() {
  static auto* const uses = new std::map<uint32_t, KernelUse>;
  return *uses;
}

// Where a function's parameters begin, behind the arguments of its template.
size_t BeginOfParameters(const std::string& name, size_t from) {
  int depth = 0;
  for (; from < name.size(); ++from) {
    if (name[from] == '<') ++depth;
    if (name[from] == '>') --depth;
    if (depth == 0 && name[from] == '(') break;
  }
  return from;
}

// "void trireme::(anonymous namespace)::Name[abi:kernel]<trireme::bf16>(long)" becomes "Name<bf16>".
std::string ShortName(std::string name) {
  const size_t mark = name.find(kMark);
  name.erase(mark, std::strlen(kMark));
  name.erase(BeginOfParameters(name, mark));
  for (const char* prefix : {"(anonymous namespace)::", "trireme::", "map_internal::", "void "}) {
    for (size_t at = name.find(prefix); at != std::string::npos; at = name.find(prefix)) {
      name.erase(at, std::strlen(prefix));
    }
  }
  return name;
}

// Calls f(offset, type, name) for every symbol of this program.
template <typename F>
void ForSymbols(F f) {
  char program[4096];
  const ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
  if (length <= 0) return;
  program[length] = '\0';
  char command[4300];
  std::snprintf(command, sizeof(command), "nm -C '%s' 2>/dev/null", program);
  FILE* const pipe = popen(command, "r");
  if (pipe == nullptr) return;
  char* line = nullptr;
  size_t capacity = 0;
  while (getline(&line, &capacity, pipe) > 0) {
    char type = 0;
    unsigned long long offset = 0;
    int name = 0;
    if (std::sscanf(line, "%llx %c %n", &offset, &type, &name) == 2)
      f(offset, type, std::string(line + name));
  }
  std::free(line);
  pclose(pipe);
}

// "trireme::(anonymous namespace)::Name[abi:kernel]<float>(long)::{lambda(bool)#1}::operator()(bool)
// const::gpu_branch_wide" becomes "Name<float> wide".
std::string BranchName(std::string name) {
  const size_t mark = name.find(kBranchMark);
  std::string branch = name.substr(mark + std::strlen(kBranchMark));
  while (!branch.empty() && (branch.back() == '\n' || branch.back() == ' ')) branch.pop_back();
  name.erase(mark);
  for (const char* part : {"(anonymous namespace)::", "trireme::", "map_internal::", kMark}) {
    for (size_t at = name.find(part); at != std::string::npos; at = name.find(part)) {
      name.erase(at, std::strlen(part));
    }
  }
  name.erase(BeginOfParameters(name, 0));
  return name + " " + branch;
}

}  // namespace

bool NoteBranch(BranchCounts& counts, bool taken) {
  __atomic_fetch_add(taken ? &counts.taken : &counts.otherwise, 1, __ATOMIC_RELAXED);
  return taken;
}

std::vector<BranchUse> BranchUses() {
  std::map<std::string, BranchCounts> by_name;
  ForSymbols([&](unsigned long long offset, char type, const std::string& symbol) {
    // Variables, not the guards of such.
    if (std::strchr("bBdDuVvsS", type) == nullptr || symbol.find(kBranchMark) == std::string::npos) return;
    if (symbol.starts_with("guard variable")) return;
    const auto* counts = static_cast<const BranchCounts*>(AddressAt(offset));
    BranchCounts& sum = by_name[BranchName(symbol)];
    sum.otherwise += counts->otherwise;
    sum.taken += counts->taken;
  });
  std::vector<BranchUse> branches;
  for (const auto& [name, counts] : by_name) branches.push_back({name, counts});
  return branches;
}

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
  std::vector<KernelUse> kernels;
  const std::lock_guard<std::mutex> lock(mutex);
  ForSymbols([&](unsigned long long offset, char type, const std::string& symbol) {
    // Functions whose own name is marked; not parts of them, nor what has them as an argument.
    const bool function = std::strchr("tTwW", type) != nullptr;
    if (!function || symbol.find(kMark) == std::string::npos || symbol.find("[clone") != std::string::npos)
      return;
    if (symbol.find("::{lambda") != std::string::npos) return;
    const auto used = UsesByOffset().find(static_cast<uint32_t>(offset));
    kernels.push_back(used == UsesByOffset().end() ? KernelUse{} : used->second);
    kernels.back().name = ShortName(symbol);
  });
  std::sort(kernels.begin(), kernels.end(),
            [](const KernelUse& a, const KernelUse& b) { return a.name < b.name; });
  return kernels;
}

}  // namespace trireme::emulator
