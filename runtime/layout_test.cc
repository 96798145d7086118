#include "runtime/layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme {
namespace {

using testing::HasSubstr;

constexpr Placement kVarying = {Placement::Kind::kVarying, 0};

Layout OnTp(Placement placement) {
  return Layout().With(Axis::kTp, placement);
}

// What Propagate says of one axis: a placement, or the reason of its refusal.
std::string Result(const char* signature, Linearity linearity, const std::vector<Placement>& operands) {
  std::vector<Layout> layouts;
  for (Placement operand : operands) layouts.push_back(OnTp(operand));
  const absl::StatusOr<Layout> layout = Propagate(signature, linearity, layouts);
  if (!layout.ok()) return std::string(layout.status().message());
  EXPECT_EQ((*layout)[Axis::kDp], kInvariant);
  return (*layout)[Axis::kTp].ToString();
}

std::string Product(const std::vector<Placement>& operands) {
  return Result("tk,nk->tn", Linearity::kProduct, operands);
}
std::string Sum(const std::vector<Placement>& operands) {
  return Result("td,td->td", Linearity::kSum, operands);
}
std::string Norm(const std::vector<Placement>& operands) {
  return Result("tD,D->tD", Linearity::kNonlinear, operands);
}
std::string Masked(const std::vector<Placement>& operands) {
  return Result("th,~t->th", Linearity::kNonlinear, operands);
}

TEST(LayoutTest, InvariantOperandsGiveInvariant) {
  EXPECT_EQ(Product({kInvariant, kInvariant}), "I");
  EXPECT_EQ(Sum({kInvariant, kInvariant}), "I");
  EXPECT_EQ(Norm({kInvariant, kInvariant}), "I");
}

TEST(LayoutTest, InvariantBesideAnythingElseIsRefused) {
  for (Placement other : {kReplicate, Shard(0), kPartial, kVarying}) {
    EXPECT_THAT(Product({kInvariant, other}), HasSubstr("I beside another placement")) << other.ToString();
    EXPECT_THAT(Product({other, kInvariant}), HasSubstr("I beside another placement")) << other.ToString();
    EXPECT_THAT(Sum({kInvariant, other}), HasSubstr("I beside another placement")) << other.ToString();
  }
}

TEST(LayoutTest, ReplicateOperandsGiveReplicate) {
  EXPECT_EQ(Product({kReplicate, kReplicate}), "R");
  EXPECT_EQ(Sum({kReplicate, kReplicate}), "R");
  EXPECT_EQ(Norm({kReplicate, kReplicate}), "R");
}

TEST(LayoutTest, AShardGoesWhereItsDimGoes) {
  EXPECT_EQ(Product({Shard(0), kReplicate}), "S0");
  EXPECT_EQ(Product({kReplicate, Shard(0)}), "S1");
  EXPECT_EQ(Norm({Shard(0), kReplicate}), "S0");
  EXPECT_EQ(Sum({Shard(1), Shard(1)}), "S1");
}

TEST(LayoutTest, BothOperandsShardedOnAContractedDimGivePartial) {
  EXPECT_EQ(Product({Shard(1), Shard(1)}), "P");
  EXPECT_EQ(Result("tn->n", Linearity::kProduct, {Shard(0)}), "P");
}

TEST(LayoutTest, OneOperandShardedOnASharedDimIsRefused) {
  EXPECT_THAT(Product({Shard(1), kReplicate}), HasSubstr("every operand that has it must be sharded on it"));
  EXPECT_THAT(Product({kReplicate, Shard(1)}), HasSubstr("every operand that has it must be sharded on it"));
  EXPECT_THAT(Sum({Shard(0), kReplicate}), HasSubstr("every operand that has it must be sharded on it"));
  EXPECT_THAT(Sum({Shard(0), Shard(1)}), HasSubstr("every operand that has it must be sharded on it"));
}

TEST(LayoutTest, AnOperandWithoutTheShardedDimMustBeReplicate) {
  EXPECT_THAT(Product({Shard(0), Shard(0)}), HasSubstr("an operand without it must be R"));
  EXPECT_THAT(Product({Shard(0), kPartial}), HasSubstr("an operand without it must be R"));
  EXPECT_THAT(Norm({Shard(0), kPartial}), HasSubstr("an operand without it must be R"));
}

TEST(LayoutTest, ANonlinearOpMayNotContractAShard) {
  EXPECT_THAT(Result("tf->t", Linearity::kNonlinear, {Shard(1)}),
              HasSubstr("not linear in a sharded dim that it contracts"));
  EXPECT_EQ(Result("tf->t", Linearity::kNonlinear, {Shard(0)}), "S0");
}

TEST(LayoutTest, AnUpperCaseDimMustNotBeSharded) {
  EXPECT_THAT(Norm({Shard(1), Shard(0)}), HasSubstr("this dim must not be sharded"));
  EXPECT_THAT(Result("tD->t", Linearity::kNonlinear, {Shard(1)}), HasSubstr("this dim must not be sharded"));
}

TEST(LayoutTest, PartialPassesAProductBesideReplicate) {
  EXPECT_EQ(Product({kPartial, kReplicate}), "P");
  EXPECT_EQ(Product({kReplicate, kPartial}), "P");
  EXPECT_THAT(Product({kPartial, kPartial}), HasSubstr("P where the op is not linear in it"));
}

TEST(LayoutTest, ASumTakesPartialOnAllOperandsOrNone) {
  EXPECT_EQ(Sum({kPartial, kPartial}), "P");
  EXPECT_THAT(Sum({kPartial, kReplicate}), HasSubstr("P where the op is not linear in it"));
  EXPECT_THAT(Sum({kReplicate, kPartial}), HasSubstr("P where the op is not linear in it"));
}

TEST(LayoutTest, ANonlinearOpRefusesPartial) {
  EXPECT_THAT(Norm({kPartial, kReplicate}), HasSubstr("P where the op is not linear in it"));
  EXPECT_THAT(Result("tf->tf", Linearity::kNonlinear, {kPartial}), HasSubstr("P where"));
}

TEST(LayoutTest, VaryingIsRefused) {
  EXPECT_THAT(Product({kVarying, kReplicate}), HasSubstr("V"));
  EXPECT_THAT(Sum({kVarying, kVarying}), HasSubstr("V"));
}

TEST(LayoutTest, WithoutAGradientReplicateAndInvariantAreOneType) {
  EXPECT_EQ(Masked({kInvariant, kReplicate}), "I");
  EXPECT_EQ(Masked({kReplicate, kInvariant}), "R");
  EXPECT_EQ(Masked({Shard(1), kInvariant}), "S1");
  EXPECT_EQ(Masked({Shard(0), Shard(0)}), "S0");
  EXPECT_THAT(Masked({Shard(0), kReplicate}), HasSubstr("every operand that has it must be sharded on it"));
  EXPECT_THAT(Masked({kInvariant, Shard(0)}), HasSubstr("I beside another placement"));
}

TEST(LayoutTest, AShardOfADimThatTheOperandLacksIsRefused) {
  EXPECT_THAT(Norm({kReplicate, Shard(1)}), HasSubstr("no such dim"));
}

TEST(LayoutTest, EachAxisIsOnItsOwn) {
  const Layout stream = {Shard(0), kReplicate}, weight = {kReplicate, Shard(0)};
  const absl::StatusOr<Layout> layout = Propagate("tk,nk->tn", Linearity::kProduct, {stream, weight});
  ASSERT_TRUE(layout.ok());
  EXPECT_EQ(layout->ToString(), "S0.S0.S1");
}

TEST(LayoutTest, ARefusalNamesAxisSignatureAndLayouts) {
  const Layout stream = {Shard(0), kInvariant}, weight = {kInvariant, kInvariant};
  const absl::Status refusal = Propagate("tk,nk->tn", Linearity::kProduct, {stream, weight}).status();
  EXPECT_EQ(refusal.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(refusal.message(),
            "layouts do not fit on axis dp for tk,nk->tn: I beside another placement; found S0.S0.I I.I.I");
}

TEST(LayoutTest, TheDualExchangesReplicateAndPartialAlone) {
  Layout layout;
  layout[Axis::kDp] = kReplicate;
  layout[Axis::kCp] = kPartial;
  layout[Axis::kTp] = Shard(1);
  EXPECT_EQ(Dual(layout).ToString(), "P.R.S1");
  EXPECT_EQ(Dual(Layout()), Layout());
  EXPECT_EQ(Dual(OnTp(kVarying)), OnTp(kVarying));
  for (Placement placement : {kReplicate, kInvariant, Shard(0), Shard(1), kPartial, kVarying}) {
    EXPECT_EQ(Dual(Dual(OnTp(placement))), OnTp(placement));
  }
}

TEST(LayoutTest, ShardsAreEqualOnlyOnTheSameDim) {
  EXPECT_EQ(Shard(1), Shard(1));
  EXPECT_NE(Shard(1), Shard(0));
  EXPECT_NE(kReplicate, kInvariant);
}

}  // namespace
}  // namespace trireme
