# Warnings and sanitizers of our own code. Generated protobuf code is compiled with neither warnings nor -Werror.
add_library(berth_warnings INTERFACE)
target_compile_options(berth_warnings INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Werror
  $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor -Woverloaded-virtual>)

if(BERTH_SANITIZE)
  add_compile_options(-fsanitize=${BERTH_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${BERTH_SANITIZE})
  if(BERTH_SANITIZE MATCHES "thread")
    # protobuf's headers change the layout of their classes under ThreadSanitizer, Debian's library does not.
    # g++ 12 takes spdlog's atomic fences for unsupported and says so as a warning.
    add_compile_options(-U__SANITIZE_THREAD__ -Wno-tsan)
  endif()
endif()
