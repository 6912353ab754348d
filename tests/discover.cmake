cmake_minimum_required(VERSION 3.14)

# Writes one ctest test for each case of a doctest program (run by add_doctest after the program is built).
# Why not doctest's own: its list handling breaks at `;`, `[` and `,` in names, and a filter that then matches no case
# passes. Here such characters become `?`, a wildcard in doctest's filter, and a run of 0 cases fails.
execute_process(COMMAND ${emulator} "${program}" --list-test-cases --no-colors=true OUTPUT_VARIABLE cases RESULT_VARIABLE failed)
if(failed)
  message(FATAL_ERROR "${program} --list-test-cases: ${failed}")
endif()
string(REGEX REPLACE "\\[doctest\\][^\n]*\n|=+\n|\r" "" cases "${cases}")
string(REGEX REPLACE "[][;,\"\\\\$*]" "?" cases "${cases}")
string(REPLACE "\n" ";" cases "${cases}")
list(REMOVE_DUPLICATES cases)
set(text "")
foreach(case IN LISTS cases)
  if(NOT case STREQUAL "")
    string(APPEND text
      "add_test([==[${name}: ${case}]==] ${emulator} [==[${program}]==] [==[--test-case=${case}]==])\n"
      "set_tests_properties([==[${name}: ${case}]==] PROPERTIES LABELS unit TIMEOUT 300 FAIL_REGULAR_EXPRESSION [==[test cases: +0 ]==])\n")
  endif()
endforeach()
if(text STREQUAL "")
  message(FATAL_ERROR "${program} has no test cases")
endif()
file(WRITE "${list}" "${text}")
