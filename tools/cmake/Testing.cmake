# shardreel_test(NAME SOURCES... [LIBS targets...] [LABELS labels...] [TIMEOUT seconds])
# One GoogleTest program of the tests of one folder, registered case by case. Labels: unit (default) or
# integration; unit-threads for what ThreadSanitizer has to see (target threaded_tests). One label a
# test: gtest_discover_tests cannot pass lists on.
find_package(GTest REQUIRED)
include(GoogleTest)

add_executable(shardreel_test_pch ${CMAKE_CURRENT_SOURCE_DIR}/tests/support/pch.cpp)  # a program, so that the flags are those of the tests
target_link_libraries(shardreel_test_pch PRIVATE GTest::gmock shardreel_compiler)
target_precompile_headers(shardreel_test_pch PRIVATE <gtest/gtest.h> <gmock/gmock.h>)

add_custom_target(threaded_tests)

function(shardreel_test name)
  cmake_parse_arguments(arg "" "TIMEOUT" "SOURCES;LIBS;LABELS" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
  endif()
  if(NOT arg_LABELS)
    set(arg_LABELS unit)
  endif()
  add_executable(${name} ${arg_SOURCES} ${arg_UNPARSED_ARGUMENTS})
  target_precompile_headers(${name} REUSE_FROM shardreel_test_pch)
  target_link_libraries(${name} PRIVATE ${arg_LIBS} shardreel_test_support GTest::gmock_main shardreel_compiler)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  if(SHARDREEL_SANITIZE MATCHES undefined)
    # What is tested is checked; the tests' own macros would take half of the compile time.
    foreach(source ${arg_SOURCES})
      if(NOT IS_ABSOLUTE ${source})
        set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS -fno-sanitize=undefined)
      endif()
    endforeach()
  endif()
  if(arg_LABELS MATCHES threads)
    add_dependencies(threaded_tests ${name})
  endif()
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 PROPERTIES LABELS "${arg_LABELS}" TIMEOUT ${arg_TIMEOUT})
endfunction()
