// trireme: trains language models on a mesh of MPI ranks. The sub-commands stand in launch/<command>.cc.
#include <glog/logging.h>

#include <cstdio>

#include "configs/exit_codes.h"
#include "launch/command.h"

// What CLI11 throws outside of parse is a command declared wrongly.
// NOLINTNEXTLINE(bugprone-exception-escape)
int main(int argc, char** argv) {
  FLAGS_logtostderr = true;
  google::InitGoogleLogging(argv[0]);
  CLI::App app("Trireme: distributed pretraining of large language models.", "trireme");
  app.require_subcommand(1);
  app.footer(
      "`trireme COMMAND --help` says more of each. Exit codes: 0 done, 64 bad configuration or usage, 65 bad "
      "data or\n"
      "checkpoint, 75 stopped on request after saving.");
  trireme::CommandBody body;
  trireme::AddPrepareCommand(app, &body);
  trireme::AddTrainCommand(app, &body);
  trireme::AddGenerateCommand(app, &body);
  trireme::AddExplainCommand(app, &body);
  trireme::AddInspectCommand(app, &body);
  trireme::AddBenchCommand(app, &body);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // What is missing is all that the parser speaks of; a word that it does not know is often the reason.
    for (const std::string& word : app.remaining(true)) {
      std::fprintf(stderr, "trireme: \"%s\" is no command or option here\n", word.c_str());
    }
    return app.exit(error) == 0 ? trireme::kExitFinished : trireme::kExitConfig;
  }
  return body();
}
