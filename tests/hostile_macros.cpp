// Macros that well-known headers define. Each that the header spelled anywhere would break it: some expand to nothing
// that compiles. (include_cost.sh includes the standard library first: it is not what is tested here.)

// <windows.h> and its kin
#define min(a, b) broken macro min
#define max(a, b) broken macro max
#define ERROR 0
#define small char
#define near broken macro
#define far broken macro
#define interface struct
#define IN
#define OUT
#define OPTIONAL
#define DELETE (0x00010000L)
#define NO_ERROR 0L
#define INFINITE 0xFFFFFFFF
#define IGNORE 0
#define STRICT 1
#define VOID void
#define CONST const
#define TRUE 1
#define FALSE 0
#define THIS void
#define Yield()
#define CopyFile CopyFileA
#define CreateDirectory CreateDirectoryA
#define CreateFile CreateFileA
#define DeleteFile DeleteFileA
#define GetMessage GetMessageA
#define GetObject GetObjectA
#define MoveFile MoveFileA
#define RemoveDirectory RemoveDirectoryA
#define ReplaceFile ReplaceFileA

// X11
#define None 0L
#define Bool int
#define Status int
#define Success 0
#define Always 2
#define True 1
#define False 0

// Objective-C and Carbon
#define YES 1
#define NO 0
#define check(x) broken macro check
#define verify(x) broken macro verify
#define require(x, label) broken macro require

// Qt
#define signals broken macro
#define slots broken macro
#define emit broken macro
#define foreach broken macro

// C libraries: <sys/sysmacros.h>, <complex.h>, <termios.h>, BSD's <sys/param.h>, g++ without -ansi
#define major(device) broken macro major
#define minor(device) broken macro minor
#define I broken macro
#define B0 broken macro
#define MIN(a, b) broken macro MIN
#define MAX(a, b) broken macro MAX
#ifndef unix
#define unix 1
#endif
#ifndef linux
#define linux 1
#endif

// Test and log frameworks
#define CHECK(x) broken macro CHECK
#define REQUIRE(x) broken macro REQUIRE
#define FAIL(x) broken macro FAIL
#define INFO(x) broken macro INFO
#define WARN(x) broken macro WARN
#define MESSAGE(x) broken macro MESSAGE
#define LOG(x) broken macro LOG
#define DEBUG 1
#define TEST_CASE(x) broken macro TEST_CASE
#define SUBCASE(x) broken macro SUBCASE

#include <memoria_fs.hpp>

#if !defined(min) || !defined(max)
#error "memoria_fs.hpp must leave min and max as they were"
#endif
