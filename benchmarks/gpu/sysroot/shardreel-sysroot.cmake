# The libraries of a sysroot for a machine that has none:
#   cmake -DCMAKE_PROJECT_TOP_LEVEL_INCLUDES=$PWD/.sysroot/shardreel-sysroot.cmake ...
get_filename_component(SHARDREEL_SYSROOT "${CMAKE_CURRENT_LIST_DIR}" ABSOLUTE)
list(PREPEND CMAKE_PREFIX_PATH "${SHARDREEL_SYSROOT}/usr")
# Debian's folder of libraries, also where the machine's compiler has none.
if(NOT CMAKE_LIBRARY_ARCHITECTURE)
  set(CMAKE_LIBRARY_ARCHITECTURE x86_64-linux-gnu)
endif()
list(PREPEND CMAKE_LIBRARY_PATH "${SHARDREEL_SYSROOT}/usr/lib/x86_64-linux-gnu")
list(PREPEND CMAKE_INCLUDE_PATH "${SHARDREEL_SYSROOT}/usr/include")
# Programs find the libraries here; those find each other beside themselves.
list(APPEND CMAKE_BUILD_RPATH "${SHARDREEL_SYSROOT}/usr/lib/x86_64-linux-gnu")
