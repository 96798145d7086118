// What a test may ask of the emulator: in which order threads run, and what happens when a kernel breaks a
// rule. Set these before a launch; they hold for every thread of the process.
#ifndef TRIREME_TESTS_EMULATOR_EMULATOR_H_
#define TRIREME_TESTS_EMULATOR_EMULATOR_H_

#include <cstdint>
#include <stdexcept>
#include <string>

// What of a kernel's own code the race checker must not see: the emulator's bookkeeping.
#define TRIREME_NOT_OF_THE_KERNEL __attribute__((no_sanitize_thread))

namespace trireme::emulator {

// Where a kernel called the emulator. As std::source_location, which clang 14 lacks.
class Site {
 public:
  constexpr Site() = default;
  static constexpr Site current(const char* file = __builtin_FILE(), unsigned line = __builtin_LINE()) {
    Site site;
    site.file_ = file;
    site.line_ = line;
    return site;
  }
  constexpr const char* file_name() const { return file_; }
  constexpr unsigned line() const { return line_; }

 private:
  const char* file_ = "";
  unsigned line_ = 0;
};

// Threads of a block run one at a time, each until it has to wait. Forward: first the lowest lane of the
// lowest warp and the first block; reverse: the highest and last. Both let one warp run as far ahead of the
// others as barriers allow. Random: any, blocks too.
enum class Order { kForward, kReverse, kRandom };
inline constexpr Order kAllOrders[] = {Order::kForward, Order::kReverse, Order::kRandom};

void SetOrder(Order order, uint64_t seed = 1);
Order CurrentOrder();
const char* Name(Order order);

// A broken rule: the message names the kernel, the block, the thread and the line. By default it is printed
// and the process aborts; with kThrow the launch throws Error after abandoning the block, and the next launch
// starts clean.
class Error : public std::runtime_error {
  using std::runtime_error::runtime_error;
};
enum class OnFailure { kAbort, kThrow };
void SetOnFailure(OnFailure on_failure);
OnFailure CurrentOnFailure();

// Blocks run since the process started: proof that a kernel ran at all.
int64_t NumBlocksRun();

// The message of the Error that `run` throws, or "" if it throws none.
template <typename Run>
std::string MessageOf(Run run) {
  SetOnFailure(OnFailure::kThrow);
  std::string message;
  try {
    run();
  } catch (const Error& error) {
    message = error.what();
  }
  SetOnFailure(OnFailure::kAbort);
  return message;
}

}  // namespace trireme::emulator

#endif  // TRIREME_TESTS_EMULATOR_EMULATOR_H_
