#include "data/split.h"

#include <glog/logging.h>

#include "data/test_files.h"

namespace trireme {
namespace {

std::vector<std::string> ManyDocuments(int count) {
  std::vector<std::string> documents;
  for (int i = 0; i < count; ++i)
    documents.push_back(absl::StrCat("document ", i, std::string(100 + i % 50, 'x'), "\n"));
  return documents;
}

ValidationSplit Decided(double share, const std::vector<std::string>& documents) {
  ValidationSplit split(share);
  for (const std::string& document : documents) split.Count(document);
  split.Decide();
  return split;
}

double ValidationShare(const ValidationSplit& split, const std::vector<std::string>& documents) {
  double all = 0;
  double held_out = 0;
  for (const std::string& document : documents) {
    all += static_cast<double>(document.size());
    held_out += static_cast<double>(split.Cut(document).validation.size());
  }
  return held_out / all;
}

TEST(SplitTest, HoldsOutWholeDocumentsOfNearlyTheShare) {
  const std::vector<std::string> documents = ManyDocuments(1000);
  const ValidationSplit split = Decided(0.05, documents);
  EXPECT_NEAR(ValidationShare(split, documents), 0.05, 0.001);
  for (const std::string& document : documents) {
    const auto [training, validation] = split.Cut(document);
    EXPECT_TRUE((training == document && validation.empty()) || (training.empty() && validation == document));
  }
}

TEST(SplitTest, DoesNotDependOnTheOrderOfDocuments) {
  std::vector<std::string> documents = ManyDocuments(300);
  const ValidationSplit split = Decided(0.1, documents);
  std::reverse(documents.begin(), documents.end());
  const ValidationSplit reversed = Decided(0.1, documents);
  for (const std::string& document : documents) {
    EXPECT_EQ(split.Cut(document).validation, reversed.Cut(document).validation);
  }
}

TEST(SplitTest, HoldsOutTheTailOfFewDocuments) {
  std::string document;
  for (int i = 0; i < 1000; ++i) absl::StrAppend(&document, "line ", i, "\n");
  const ValidationSplit split = Decided(0.1, {document});
  const auto [training, validation] = split.Cut(document);
  EXPECT_EQ(absl::StrCat(training, validation), document);
  EXPECT_NEAR(static_cast<double>(validation.size()) / static_cast<double>(document.size()), 0.1, 0.01);
  EXPECT_EQ(training.back(), '\n');
}

TEST(SplitTest, HoldsOutTailsWhereOneDocumentOutweighsTheOthers) {
  std::vector<std::string> documents = {std::string(1000000, 'x')};
  for (int i = 0; i < 10; ++i) documents.push_back(absl::StrCat("small ", i));
  const ValidationSplit split = Decided(0.1, documents);
  EXPECT_NEAR(ValidationShare(split, documents), 0.1, 0.01);
}

TEST(SplitTest, ZeroHoldsOutNothing) {
  EXPECT_EQ(ValidationSplit(0).Cut("abc").training, "abc");
  EXPECT_EQ(ValidationSplit(0).Cut("abc").validation, "");
}

}  // namespace
}  // namespace trireme
