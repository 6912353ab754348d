// The header's own test cases. (selftest_one_line.sh runs them without this file, by the README's command.)
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#define MEMORIA_FS_TESTS
#include <memoria_fs.hpp>
