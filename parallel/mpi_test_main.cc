#include "parallel/mpi_test_main.h"

#include <glog/logging.h>
#include <gtest/gtest.h>

#include <iostream>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"

namespace trireme {
namespace {

MpiEnvironment* environment = nullptr;

class AbortOnFailure : public testing::EmptyTestEventListener {
 public:
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::cerr << "rank " << environment->world().rank() << ": " << result.file_name() << ":"
              << result.line_number() << ": " << result.message() << std::endl;
    environment->Abort(1);
  }
};

MpiOptions ParseOptions(int argc, char** argv) {
  MpiOptions options;
  for (int i = 1; i < argc; ++i) {
    absl::string_view argument = argv[i];
    if (absl::ConsumePrefix(&argument, "--piece_bytes=")) {
      CHECK(absl::SimpleAtoi(argument, &options.piece_bytes)) << argv[i];
    } else if (absl::ConsumePrefix(&argument, "--max_message_bytes=")) {
      CHECK(absl::SimpleAtoi(argument, &options.max_message_bytes)) << argv[i];
    } else {
      LOG(FATAL) << "unknown argument " << argv[i];
    }
  }
  return options;
}

int RunTests(int argc, char** argv) {
  google::InitGoogleLogging(argv[0]);
  google::LogToStderr();
  testing::InitGoogleTest(&argc, argv);
  auto created = MpiEnvironment::Create(true, ParseOptions(argc, argv));
  CHECK(created.ok()) << created.status();
  environment = created->get();
  testing::TestEventListeners& listeners = testing::UnitTest::GetInstance()->listeners();
  if (environment->world().rank() != 0) delete listeners.Release(listeners.default_result_printer());
  listeners.Append(new AbortOnFailure);
  return RUN_ALL_TESTS();
}

}  // namespace

MpiEnvironment& MpiTestEnvironment() {
  return *environment;
}

}  // namespace trireme

int main(int argc, char** argv) {
  return trireme::RunTests(argc, argv);
}
