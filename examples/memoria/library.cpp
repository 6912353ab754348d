// The one unit that compiles the library.
#define MEMORIA_FS_IMPLEMENTATION
#include "memoria_fs.hpp"
