#include "tests/emulator/emulator.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>

#include "tests/emulator/failure.h"

namespace trireme::emulator {
namespace {

std::atomic<Order> order = Order::kForward;
std::atomic<uint64_t> seed = 1;
std::atomic<OnFailure> on_failure = OnFailure::kAbort;

}  // namespace

void SetOrder(Order new_order, uint64_t new_seed) {
  order = new_order;
  seed = new_seed;
}
Order CurrentOrder() {
  return order;
}
uint64_t RandomSeed() {
  return seed * 0x9E3779B97F4A7C15u | 1;
}

const char* Name(Order order) {
  switch (order) {
    case Order::kForward:
      return "forward";
    case Order::kReverse:
      return "reverse";
    case Order::kRandom:
      return "random";
  }
  return "?";
}

void SetOnFailure(OnFailure new_on_failure) {
  on_failure = new_on_failure;
}
OnFailure CurrentOnFailure() {
  return on_failure;
}

std::string Place(const Site& site) {
  return std::string(site.file_name()) + ":" + std::to_string(site.line());
}

void ReportFailure(const std::string& message) {
  if (on_failure == OnFailure::kThrow) throw Error(message);
  std::fprintf(stderr, "emulator: %s\n", message.c_str());
  std::abort();
}

}  // namespace trireme::emulator
