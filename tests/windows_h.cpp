// matrix.sh compiles this with BEFORE, AFTER, both or neither: the header works on either side of <windows.h>, whose
// prototypes have to agree with ours, and whose min, max, small, near, far, interface, DELETE, ERROR, CreateFile, ...
// must do no harm; and it does not bring <windows.h> in.
#ifdef BEFORE
#include <windows.h>
#ifndef min  // MSVC's has them, mingw-w64's spares C++
#define min(a, b) (((a) < (b)) ? (a) : (b))
#define max(a, b) (((a) > (b)) ? (a) : (b))
#endif
#endif

#include <memoria_fs.hpp>

#if !defined(BEFORE) && (defined(_WINDOWS_) || defined(_INC_WINDOWS) || defined(WINAPI) || defined(DeleteFile))
#error "memoria_fs.hpp brought <windows.h> in"
#endif
#if defined(BEFORE) && !(defined(min) && defined(max))
#error "memoria_fs.hpp must leave min and max as they were"
#endif

#ifdef AFTER
#include <windows.h>
DWORD last_error() { return GetLastError(); }
#endif

std::string first_line(const memoria::path& file) {
  const std::string text = memoria::read_text(file);
  return text.substr(0, text.find('\n'));
}
