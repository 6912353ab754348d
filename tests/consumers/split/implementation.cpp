// The one unit that compiles the definitions. The first include is what a header of the project may have done before.
#define MEMORIA_FS_DECLARATIONS_ONLY
#include <memoria_fs.hpp>
#define MEMORIA_FS_IMPLEMENTATION
#include <memoria_fs.hpp>
