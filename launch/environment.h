// What the launcher says of this process, from its environment: the only place that reads environment
// variables.
#ifndef TRIREME_LAUNCH_ENVIRONMENT_H_
#define TRIREME_LAUNCH_ENVIRONMENT_H_

namespace trireme {

struct LaunchEnvironment {
  bool under_launcher = false;  // mpirun or srun started this process
  int rank = 0;
  int num_ranks = 1;
  int local_rank = 0;   // on this host
  int local_ranks = 1;  // on this host
  int num_threads = 1;  // for this rank: OMP_NUM_THREADS, else its share of the host's cores
  int num_cores = 1;    // of this host that the process may use
};

// Open MPI's variables, or those of srun with PMIx.
LaunchEnvironment ReadEnvironment();

}  // namespace trireme

#endif  // TRIREME_LAUNCH_ENVIRONMENT_H_
