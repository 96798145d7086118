#include "data/documents.h"

#include <glog/logging.h>
#include <sys/stat.h>

#include "data/test_files.h"

namespace trireme {
namespace {

std::vector<std::string> Documents(const TextFiles& files) {
  std::vector<std::string> documents;
  absl::Status status = ForEachDocument(files, "text", [&](absl::string_view text, int64_t bytes_done) {
    EXPECT_LE(bytes_done, files.bytes);
    documents.emplace_back(text);
    return absl::OkStatus();
  });
  CHECK(status.ok()) << status;
  return documents;
}

TEST(DocumentsTest, WalksAFolderByPath) {
  const TestFolder folder;
  folder.Write("in/b.txt", "B");
  folder.Write("in/a/z.txt", "AZ");
  folder.Write("in/c.jsonl",
               "{\"text\":\"C1\"}\n\n  \r\n{\"text\":\"C2\"}\n{\"text\":\"\"}\n{\"text\":\"C3\"}");
  folder.Write("in/a.pod", "P");
  const auto files = ListTextFiles({folder / "in"});
  ASSERT_TRUE(files.ok());
  EXPECT_THAT(Documents(*files), ::testing::ElementsAre("P", "AZ", "B", "C1", "C2", "C3"));
  EXPECT_THAT(files->notes, ::testing::IsEmpty());
}

TEST(DocumentsTest, PassesOverWhatIsNoTextWithANote) {
  const TestFolder folder;
  folder.Write("in/good.txt", "good");
  folder.Write("in/binary", std::string("a\0b", 3));
  folder.Write("in/empty.txt", "");
  folder.Write("in/.hidden", "h");
  folder.Write("in/.git/config", "h");
  std::filesystem::create_symlink(folder / "in/good.txt", folder / "in/link.txt");
  std::filesystem::create_directory_symlink(folder / "in", folder / "in/loop");
  ASSERT_EQ(mkfifo((folder / "in/fifo").c_str(), 0600), 0);
  const auto files = ListTextFiles({folder / "in"});
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_THAT(Documents(*files), ::testing::ElementsAre("good"));
  EXPECT_EQ(files->notes.size(), 7);
}

TEST(DocumentsTest, ANamedFileIsTakenWhateverItIsCalled) {
  const TestFolder folder;
  const auto files = ListTextFiles({folder.Write(".x", "hidden"), folder.Write("y", std::string("b\0", 2))});
  ASSERT_TRUE(files.ok());
  EXPECT_THAT(Documents(*files), ::testing::ElementsAre("hidden", std::string("b\0", 2)));
  ASSERT_EQ(files->notes.size(), 1);
}

TEST(DocumentsTest, RefusesWhatCannotBeRead) {
  const TestFolder folder;
  ExpectError(ListTextFiles({folder / "nowhere"}).status(), absl::StatusCode::kNotFound, {"nowhere"});
  ExpectError(ListTextFiles({""}).status(), absl::StatusCode::kNotFound, {"does not exist"});
  ASSERT_EQ(mkfifo((folder / "fifo").c_str(), 0600), 0);
  ExpectError(ListTextFiles({folder / "fifo"}).status(), absl::StatusCode::kInvalidArgument,
              {"fifo", "regular"});
}

TEST(DocumentsTest, ErrorsNameFileAndLine) {
  const TestFolder folder;
  const std::string path = folder.Write("a.jsonl", "{\"text\":\"x\"}\n\n{\"text\":3}\n");
  const auto files = ListTextFiles({path});
  ASSERT_TRUE(files.ok());
  ExpectError(ForEachDocument(*files, "text", [](absl::string_view, int64_t) { return absl::OkStatus(); }),
              absl::StatusCode::kInvalidArgument, {path + ":3: ", "a number"});
}

}  // namespace
}  // namespace trireme
