// What the header uses of macOS's <copyfile.h>: extended attributes and access lists copied from one file to another.
#include <sys/xattr.h>

#include <string>
#include <vector>

enum : unsigned { COPYFILE_ACL = 1, COPYFILE_XATTR = 4 };

inline int fcopyfile(int from, int to, void*, unsigned) {
  std::vector<char> names(1 << 16), value(1 << 16);
  const ssize_t size = ::flistxattr(from, names.data(), names.size());
  for (ssize_t at = 0; at < size; at += static_cast<ssize_t>(std::string(names.data() + at).size()) + 1) {
    const ssize_t length = ::fgetxattr(from, names.data() + at, value.data(), value.size());
    if (length < 0 || ::fsetxattr(to, names.data() + at, value.data(), static_cast<size_t>(length), 0) != 0) return -1;
  }
  return size < 0 ? -1 : 0;
}
