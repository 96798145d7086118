// What the program's exit status says to whoever launched it.
#ifndef TRIREME_CONFIGS_EXIT_CODES_H_
#define TRIREME_CONFIGS_EXIT_CODES_H_

namespace trireme {

inline constexpr int kExitFinished = 0;
inline constexpr int kExitConfig = 64;       // bad configuration or usage: stop
inline constexpr int kExitInput = 65;        // bad data or checkpoint: stop
inline constexpr int kExitInternal = 70;     // ranks disagree, or a broken invariant: relaunch twice at most
inline constexpr int kExitNoSpace = 73;      // no space left: relaunch with backoff
inline constexpr int kExitIo = 74;           // input or output failed after retries: relaunch with backoff
inline constexpr int kExitRequeue = 75;      // stopped on request after saving: requeue
inline constexpr int kExitPeerLost = 76;     // a peer or the network was lost: relaunch
inline constexpr int kExitPermissions = 77;  // unsafe permissions of the run directory: stop
inline constexpr int kExitRunBusy = 78;      // the run directory belongs to another job: stop
inline constexpr int kExitNumerics = 79;     // the budget of non-finite steps is spent: stop
inline constexpr int kExitHang = 80;         // the watchdog ended a hang: relaunch, suspect the host
inline constexpr int kExitCorruption = 81;   // silent corruption on a host: relaunch without it
inline constexpr int kExitNoProgress = 93;   // three generations without progress: stop

}  // namespace trireme

#endif  // TRIREME_CONFIGS_EXIT_CODES_H_
