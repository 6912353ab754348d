// A library with a private copy of its own: compiled as two libraries, each with another name for the namespace.
#define MEMORIA_FS_NAMESPACE LIBRARY
#include <memoria_fs.hpp>

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

std::size_t JOIN(links_by_, LIBRARY)(const std::filesystem::path& note) {
  LIBRARY::locked_append_text(note, "[[one more]]");
  return LIBRARY::extract_wikilinks(LIBRARY::read_text(note)).size();
}
