#include "launch/gemm_choices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>

#include "parallel/thread_communicator.h"

namespace trireme {
namespace {

using ::testing::HasSubstr;

GemmUse UseOf(int64_t m) {
  return {.problem = {.spec = {.m = m, .n = 8, .k = 4, .transpose_b = true}, .alignment = 64}};
}

// Proposes three algorithms; how long each takes, and which are used, is the test's.
class TimedLibrary : public GemmLibrary {
 public:
  TimedLibrary(std::string version, std::vector<double> seconds)
      : version_(std::move(version)), seconds_(std::move(seconds)) {}

  std::string version() const override { return version_; }
  std::vector<GemmCandidate> Time(const GemmUse& use) override {
    timed.push_back(use.problem.spec.m);
    std::vector<GemmCandidate> candidates;
    for (size_t i = 0; i < seconds_.size(); ++i) {
      // A byte that no text may hold.
      candidates.push_back({std::string("\0a", 2) + std::to_string(i), seconds_[i]});
    }
    // The first is the product and kernels behind it.
    if (use.problem.spec.epilogue != GemmEpilogue::kNone) candidates[0].algorithm.clear();
    return candidates;
  }
  void Use(const GemmProblem& problem, const std::string& algorithm) override {
    used[problem.spec.m] = algorithm;
  }

  std::vector<int64_t> timed;
  std::map<int64_t, std::string> used;

 private:
  const std::string version_;
  const std::vector<double> seconds_;
};

std::string Algorithm(int i) {
  return std::string("\0a", 2) + std::to_string(i);
}

class GemmChoicesTest : public testing::Test {
 protected:
  GemmChoicesTest()
      : path_(testing::TempDir() + "gemm_choices_" +
              testing::UnitTest::GetInstance()->current_test_info()->name() + ".json") {
    std::remove(path_.c_str());
  }
  ~GemmChoicesTest() override { std::remove(path_.c_str()); }

  absl::Status ChooseAlone(TimedLibrary* library) {
    absl::Status status;
    RunThreadRanks(
        1, [&](Communicator& world) { status = ChooseGemms({UseOf(16)}, path_, world, library, &report_); });
    return status;
  }

  const std::string path_;
  GemmChoiceReport report_;
};

// Ranks 0 and 1 have product 16, ranks 1 and 2 product 32; each finds another algorithm fastest.
TEST_F(GemmChoicesTest, TheLowestRankThatHasAProductChoosesForAll) {
  constexpr int kRanks = 3;
  for (const bool has_file : {false, true}) {
    std::mutex mutex;
    std::vector<int64_t> timed;
    std::vector<std::map<int64_t, std::string>> used(kRanks);
    RunThreadRanks(kRanks, [&](Communicator& world) {
      const int rank = world.rank();
      std::vector<double> seconds(kRanks, 2e-6);
      seconds[rank] = 1e-6;
      TimedLibrary library("card", seconds);
      std::vector<GemmUse> uses;
      if (rank <= 1) uses.push_back(UseOf(16));
      if (rank >= 1) uses.push_back(UseOf(32));
      GemmChoiceReport report;
      const absl::Status status = ChooseGemms(uses, path_, world, &library, &report);
      const std::lock_guard<std::mutex> lock(mutex);
      EXPECT_TRUE(status.ok()) << status;
      EXPECT_EQ(report.timed, has_file ? 0 : 2);
      EXPECT_EQ(report.kept, has_file ? 2 : 0);
      timed.insert(timed.end(), library.timed.begin(), library.timed.end());
      used[rank] = library.used;
    });
    std::sort(timed.begin(), timed.end());
    EXPECT_EQ(timed, has_file ? std::vector<int64_t>{} : (std::vector<int64_t>{16, 32}));
    using Used = std::map<int64_t, std::string>;
    EXPECT_EQ(used[0], (Used{{16, Algorithm(0)}}));
    EXPECT_EQ(used[1], (Used{{16, Algorithm(0)}, {32, Algorithm(1)}}));
    EXPECT_EQ(used[2], (Used{{32, Algorithm(1)}}));
  }
}

TEST_F(GemmChoicesTest, OfEqualTimesTheLibrarysFavouriteWins) {
  TimedLibrary library("card", {3e-6, 2e-6, 2e-6});
  ASSERT_TRUE(ChooseAlone(&library).ok());
  EXPECT_EQ(library.used.at(16), Algorithm(1));
}

TEST_F(GemmChoicesTest, AnEpilogueIsDoneInOneWithItsProductWhereThatIsFaster) {
  GemmUse epilogue = UseOf(16);
  epilogue.problem.spec.epilogue = GemmEpilogue::kGeluKept;
  for (const bool in_one : {false, true}) {
    std::remove(path_.c_str());
    for (const bool has_file : {false, true}) {
      TimedLibrary library("card", {2e-6, in_one ? 1e-6 : 3e-6});
      RunThreadRanks(1, [&](Communicator& world) {
        EXPECT_TRUE(ChooseGemms({UseOf(32), epilogue}, path_, world, &library, &report_).ok());
      });
      EXPECT_EQ(report_.kept, has_file ? 2 : 0);
      EXPECT_EQ(report_.epilogues, 1);
      EXPECT_EQ(report_.in_one, in_one ? 1 : 0);
      EXPECT_EQ(library.used.at(16), in_one ? Algorithm(1) : "");
    }
  }
}

TEST_F(GemmChoicesTest, AnotherCardIsTimedAnewAndBothAreKept) {
  TimedLibrary one("one card", {1e-6, 2e-6}), other("other card", {2e-6, 1e-6});
  ASSERT_TRUE(ChooseAlone(&one).ok());
  ASSERT_TRUE(ChooseAlone(&other).ok());
  EXPECT_EQ(report_.timed, 1);
  EXPECT_EQ(other.used.at(16), Algorithm(1));
  TimedLibrary again("one card", {2e-6, 1e-6});
  ASSERT_TRUE(ChooseAlone(&again).ok());
  EXPECT_TRUE(again.timed.empty());
  EXPECT_EQ(again.used.at(16), Algorithm(0));
}

TEST_F(GemmChoicesTest, AFileOfSomethingElseIsRefusedByField) {
  for (const char* text : {"{", "[]", "{\"choices\": [{\"on\": 1}]}",
                           "{\"choices\": [{\"on\": \"a\", \"product\": \"b\", \"algorithm\": \"xy\", "
                           "\"microseconds\": 1}]}"}) {
    std::ofstream(path_) << text;
    std::atomic<int> refused = 0;
    RunThreadRanks(2, [&](Communicator& world) {
      TimedLibrary library("card", {1e-6});
      GemmChoiceReport report;
      const absl::Status status = ChooseGemms({UseOf(16)}, path_, world, &library, &report);
      EXPECT_TRUE(library.timed.empty());
      if (std::string(status.message()).find("train.gemm_choices: " + path_) == 0) ++refused;
    });
    EXPECT_EQ(refused, 2) << text;
    std::ostringstream kept;
    kept << std::ifstream(path_).rdbuf();
    EXPECT_EQ(kept.str(), text) << "a file that is not ours was written over";
  }
}

TEST_F(GemmChoicesTest, AFileThatCannotBeWrittenIsRefusedByField) {
  TimedLibrary library("card", {1e-6});
  GemmChoiceReport report;
  RunThreadRanks(1, [&](Communicator& world) {
    const absl::Status status =
        ChooseGemms({UseOf(16)}, path_ + "/none/choices.json", world, &library, &report);
    EXPECT_THAT(std::string(status.message()), HasSubstr("train.gemm_choices: "));
    EXPECT_THAT(std::string(status.message()), HasSubstr("cannot be written"));
  });
}

TEST(GemmProblemTest, WhatAnAlgorithmDependsOnIsInItsText) {
  const GemmProblem base = UseOf(16).problem;
  std::vector<GemmProblem> others(10, base);
  others[0].spec.m = 17;
  others[1].spec.n = 9;
  others[2].spec.k = 5;
  others[3].spec.transpose_a = true;
  others[4].spec.transpose_b = false;
  others[5].spec.input = DType::kBF16;
  others[6].spec.bias = true;
  others[7].spec.accumulate = true;
  others[8].alignment = 16;
  others[9].spec.epilogue = GemmEpilogue::kGelu;
  for (size_t i = 0; i < others.size(); ++i) EXPECT_NE(others[i].ToString(), base.ToString()) << i;
  GemmProblem threads = base;
  threads.spec.num_threads = 7;
  EXPECT_EQ(threads.ToString(), base.ToString());
}

}  // namespace
}  // namespace trireme
