#include "checkpoint/manifest_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>

namespace trireme {
namespace {

using manifest::Manifest;
using ::testing::HasSubstr;

Manifest ExampleManifest() {
  Manifest manifest;
  manifest.set_format_version(kManifestVersion);
  manifest::Tensor* tensor = manifest.add_tensors();
  tensor->set_name("w");
  tensor->set_dtype("f32");
  tensor->add_shape(4);
  tensor->add_shape(2);
  manifest::File* file = manifest.add_files();
  file->set_name("w00000.safetensors");
  file->set_bytes(132);
  file->add_crc32c(0);
  manifest::Slice* slice = file->add_slices();
  slice->set_offset(100);
  for (const int64_t end : {4, 2}) {
    slice->add_begin(0);
    slice->add_end(end);
  }
  return manifest;
}

std::string Refusal(const std::function<void(Manifest&)>& damage) {
  Manifest manifest = ExampleManifest();
  damage(manifest);
  const absl::Status status = CheckManifest(manifest);
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << manifest.ShortDebugString();
  return std::string(status.message());
}

TEST(ManifestCheckTest, AcceptsASoundManifest) {
  EXPECT_TRUE(CheckManifest(ExampleManifest()).ok()) << CheckManifest(ExampleManifest());
}

TEST(ManifestCheckTest, RefusesVersionsAndFeaturesOfTheFuture) {
  EXPECT_THAT(Refusal([](Manifest& m) { m.set_format_version(2); }), HasSubstr("format_version 2"));
  EXPECT_THAT(Refusal([](Manifest& m) { m.add_required_features("zip"); }), HasSubstr("\"zip\" is unknown"));
  Manifest manifest = ExampleManifest();
  manifest.add_optional_features("notes");
  EXPECT_TRUE(CheckManifest(manifest).ok());
}

TEST(ManifestCheckTest, RefusesStateThatCannotBe) {
  Refusal([](Manifest& m) { m.mutable_state()->set_step(-1); });
  Refusal([](Manifest& m) { m.mutable_state()->add_positions()->set_samples(-1); });
}

TEST(ManifestCheckTest, RefusesTensorsThatCannotBe) {
  EXPECT_THAT(Refusal([](Manifest& m) { *m.add_tensors() = m.tensors(0); }), HasSubstr("listed twice"));
  EXPECT_THAT(Refusal([](Manifest& m) { m.mutable_tensors(0)->set_dtype("f8"); }),
              HasSubstr("unknown dtype \"f8\""));
  EXPECT_THAT(Refusal([](Manifest& m) { m.mutable_tensors(0)->set_shape(0, 0); }), HasSubstr("a dim of 0"));
  EXPECT_THAT(
      Refusal([](Manifest& m) { m.mutable_tensors(0)->set_shape(0, std::numeric_limits<int64_t>::max()); }),
      HasSubstr("overflows"));
  Refusal([](Manifest& m) { m.mutable_tensors(0)->clear_name(); });
  Refusal([](Manifest& m) {
    for (int i = 0; i < 5; ++i) m.mutable_tensors(0)->add_shape(1);
  });
}

TEST(ManifestCheckTest, RefusesFilesThatCannotBe) {
  for (const char* name : {"", "../w", "a/b", ".hidden", ".."}) {
    EXPECT_THAT(Refusal([name](Manifest& m) { m.mutable_files(0)->set_name(name); }),
                HasSubstr("no plain name"));
  }
  EXPECT_THAT(Refusal([](Manifest& m) { *m.add_files() = m.files(0); }), HasSubstr("listed twice"));
  EXPECT_THAT(Refusal([](Manifest& m) { m.mutable_files(0)->clear_crc32c(); }),
              HasSubstr("0 checksums for 132 bytes"));
  Refusal([](Manifest& m) { m.mutable_files(0)->set_bytes(-1); });
  Refusal([](Manifest& m) { m.mutable_files(0)->set_bytes(std::numeric_limits<int64_t>::max()); });
}

TEST(ManifestCheckTest, RefusesSlicesThatLeaveTheirTensorOrFile) {
  const auto slice = [](Manifest& m) { return m.mutable_files(0)->mutable_slices(0); };
  EXPECT_THAT(Refusal([&](Manifest& m) { slice(m)->set_tensor(1); }), HasSubstr("tensor number 1"));
  EXPECT_THAT(Refusal([&](Manifest& m) { slice(m)->set_end(0, 5); }), HasSubstr("[0, 5) of a dim of 4"));
  EXPECT_THAT(Refusal([&](Manifest& m) { slice(m)->set_begin(0, -1); }), HasSubstr("[-1, 4) of a dim of 4"));
  EXPECT_THAT(Refusal([&](Manifest& m) { slice(m)->set_offset(101); }),
              HasSubstr("32 bytes in a file of 132"));
  Refusal([&](Manifest& m) { slice(m)->set_offset(-1); });
  Refusal([&](Manifest& m) { slice(m)->set_offset(std::numeric_limits<int64_t>::max()); });
  Refusal([&](Manifest& m) { slice(m)->add_begin(0); });
  EXPECT_THAT(Refusal([&](Manifest& m) { slice(m)->set_end(0, 3); }),
              HasSubstr("tensor \"w\": 2 of 8 elements are missing"));
}

TEST(ManifestCheckTest, RefusesAliasesOfNothingAndOfTakenNames) {
  const auto alias = [](Manifest& m, const char* name, const char* target) {
    manifest::Alias* added = m.add_aliases();
    added->set_name(name);
    added->set_target(target);
  };
  Refusal([&](Manifest& m) { alias(m, "head", "x"); });
  Refusal([&](Manifest& m) { alias(m, "w", "w"); });
  Manifest manifest = ExampleManifest();
  alias(manifest, "head", "w");
  EXPECT_TRUE(CheckManifest(manifest).ok());
}

}  // namespace
}  // namespace trireme
