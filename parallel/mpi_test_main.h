// A main program for GoogleTest programs that run under mpirun, all ranks in step.
//
// The first failed assertion of any rank ends the whole job: the others would wait for that rank until the
// timeout. Rank 0 alone prints the progress. `--piece_bytes=N` and `--max_message_bytes=N` set the options of
// the environment.
#ifndef TRIREME_PARALLEL_MPI_TEST_MAIN_H_
#define TRIREME_PARALLEL_MPI_TEST_MAIN_H_

#include "parallel/mpi_communicator.h"

namespace trireme {

// The environment of the running test program.
MpiEnvironment& MpiTestEnvironment();

}  // namespace trireme

#endif  // TRIREME_PARALLEL_MPI_TEST_MAIN_H_
