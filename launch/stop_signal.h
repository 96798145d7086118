#ifndef TRIREME_LAUNCH_STOP_SIGNAL_H_
#define TRIREME_LAUNCH_STOP_SIGNAL_H_

namespace trireme {

// From now on SIGUSR1 asks this process to finish its step, save and leave; mpirun passes it on to every
// rank.
void ListenForStop();
bool StopRequested();

}  // namespace trireme

#endif  // TRIREME_LAUNCH_STOP_SIGNAL_H_
