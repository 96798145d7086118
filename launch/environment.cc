#include "launch/environment.h"

#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <initializer_list>

namespace trireme {
namespace {

// The first of these variables that holds a positive or zero number; -1 for none.
int FirstNumber(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const char* text = std::getenv(name);
    if (text == nullptr || *text == '\0') continue;
    char* end = nullptr;
    const long number = std::strtol(text, &end, 10);
    // Slurm writes "4(x2)" for tasks per node: the leading number is the one of this node or larger.
    if (end != text && number >= 0) return static_cast<int>(number);
  }
  return -1;
}

int NumCores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

}  // namespace

LaunchEnvironment ReadEnvironment() {
  LaunchEnvironment environment;
  environment.num_cores = NumCores();
  const bool slurm_pmix = std::getenv("PMIX_RANK") != nullptr && std::getenv("SLURM_NTASKS") != nullptr;
  int num_ranks = FirstNumber({"OMPI_COMM_WORLD_SIZE"});
  if (num_ranks < 1 && slurm_pmix) num_ranks = FirstNumber({"SLURM_NTASKS"});
  if (num_ranks >= 1) {
    environment.under_launcher = true;
    environment.num_ranks = num_ranks;
    environment.rank = std::max(0, FirstNumber({"OMPI_COMM_WORLD_RANK", "PMIX_RANK"}));
    environment.local_rank = std::max(0, FirstNumber({"OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID"}));
    environment.local_ranks =
        std::max(1, FirstNumber({"OMPI_COMM_WORLD_LOCAL_SIZE", "SLURM_NTASKS_PER_NODE"}));
  }
  const int threads = FirstNumber({"OMP_NUM_THREADS"});
  environment.num_threads =
      threads >= 1 ? threads : std::max(1, environment.num_cores / environment.local_ranks);
  return environment;
}

}  // namespace trireme
