# One interface target that every target of ours links: language level, warnings, sanitizers.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release)
endif()

find_program(SHARDREEL_CCACHE ccache)
if(SHARDREEL_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${SHARDREEL_CCACHE})
endif()

add_library(shardreel_compiler INTERFACE)
target_compile_options(shardreel_compiler INTERFACE $<$<COMPILE_LANGUAGE:CXX>:
  -Wall -Wextra -Wconversion -Wshadow -Wno-missing-field-initializers>)
if(PROJECT_IS_TOP_LEVEL)
  target_compile_options(shardreel_compiler INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES Clang)
  target_compile_options(shardreel_compiler INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wthread-safety>)
endif()

if(SHARDREEL_SANITIZE)
  # nvcc hands options on one by one, and splits them at commas.
  string(REGEX REPLACE "([a-z]+),?" "-Xcompiler=-fsanitize=\\1;" cuda_sanitize "${SHARDREEL_SANITIZE}")
  add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${SHARDREEL_SANITIZE};-fno-omit-frame-pointer;-g1>"
    "$<$<COMPILE_LANGUAGE:CUDA>:${cuda_sanitize}>")
  add_link_options(-fsanitize=${SHARDREEL_SANITIZE})
  add_compile_definitions(SHARDREEL_SANITIZED=1)
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    # With sanitizers, g++ 12 sees uninitialised values inside its own <regex>. And Asio fences its
    # handlers besides locking: g++ warns that ThreadSanitizer ignores fences; the locks remain.
    add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Wno-maybe-uninitialized> $<$<COMPILE_LANGUAGE:CXX>:-Wno-tsan>)
  endif()
  if(SHARDREEL_SANITIZE MATCHES undefined)
    add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fno-sanitize-recover=undefined>)
  endif()
endif()
