// The sub-commands of `trireme`. Each file launch/<command>.cc adds its own to the command line.
#ifndef TRIREME_LAUNCH_COMMAND_H_
#define TRIREME_LAUNCH_COMMAND_H_

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "absl/status/status.h"

namespace trireme {

// What the chosen sub-command does; returns the exit code (configs/exit_codes.h).
using CommandBody = std::function<int()>;

// Each adds a sub-command with its flags and help, and sets `*body` when that sub-command is chosen.
void AddTrainCommand(CLI::App& app, CommandBody* body);
void AddPrepareCommand(CLI::App& app, CommandBody* body);
void AddGenerateCommand(CLI::App& app, CommandBody* body);
void AddExplainCommand(CLI::App& app, CommandBody* body);
void AddInspectCommand(CLI::App& app, CommandBody* body);
void AddBenchCommand(CLI::App& app, CommandBody* body);

// The exit code for an error of data or a checkpoint: 65 for what was given to us, 73 for no space, 74 for
// other I/O, 70 for what should not happen. Errors of a configuration are 64 whatever their code; callers
// know where an error came from.
int ExitCodeFor(const absl::Status& status);

// Prints "trireme: <message>" to stderr.
void PrintError(const absl::Status& status);

}  // namespace trireme

#endif  // TRIREME_LAUNCH_COMMAND_H_
