// What kernels look for here is in play.hpp, which comes first.
