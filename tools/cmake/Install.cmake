# Headers, libraries, program and a CMake package: find_package(shardreel) gives shardreel::shardreel.
include(CMakePackageConfigHelpers)

install(TARGETS shardreel_shards shardreel shardreel_cli EXPORT shardreelTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY shards/include/shardreel loader/include/shardreel DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT shardreelTargets NAMESPACE shardreel:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/shardreel)
configure_package_config_file(tools/cmake/shardreelConfig.cmake.in
  ${CMAKE_BINARY_DIR}/shardreelConfig.cmake INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/shardreel)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/shardreelConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/shardreelConfig.cmake ${CMAKE_BINARY_DIR}/shardreelConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/shardreel)
